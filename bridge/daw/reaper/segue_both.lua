-- @description Segue: make music on both sides of the region
-- @version 0.1.0
-- @author Segue
-- @noindex
-- Segue: placed by `segue install`, which replaces it: changes are lost.

local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])")
local use = dofile(folder .. "lib/use.lua")
use("action")("both")
