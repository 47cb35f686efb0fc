-- @description Segue: add all of Segue's actions
-- @version 0.1.0
-- @author Segue
-- @noindex
-- Segue: placed by `segue install`, which replaces it: changes are lost.

local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])")
local use = dofile(folder .. "lib/use.lua")
local added = 0
for _, name in ipairs(use("actions")) do
  local number = reaper.AddRemoveReaScript(true, 0, folder .. name .. ".lua", true)
  if number ~= 0 then added = added + 1 end
end
reaper.ShowConsoleMsg(("Segue: %d actions are in the action list\n"):format(added))
