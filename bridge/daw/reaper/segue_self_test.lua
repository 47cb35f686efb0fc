-- @description Segue: self-test
-- @version 0.1.0
-- @author Segue
-- @noindex
-- Segue: placed by `segue install`, which replaces it: changes are lost.

local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])")
local use = dofile(folder .. "lib/use.lua")
local test = use("self_test").new()
use("loop")(function() return test:step() end)
