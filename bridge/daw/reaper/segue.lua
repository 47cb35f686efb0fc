-- @description Segue: continue your music
-- @version 0.1.0
-- @author Segue
-- @about
--   Select a stretch of music; Segue makes what comes next, on your machine. It needs Segue
--   itself, running as `segue up`.
-- @provides
--   [nomain] lib/*.lua
--   [main] segue_*.lua
-- Segue: placed by `segue install`, which replaces it: changes are lost.

local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])")
local use = dofile(folder .. "lib/use.lua")
local window = use("window").new()
reaper.atexit(function() window:close() end)
use("loop")(function() return window:step() end)
