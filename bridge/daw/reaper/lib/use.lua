-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Loads the other files here by name, each once, whatever characters their folder's path holds.

local folder = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local loaded = {}

local function use(name)
  if loaded[name] == nil then
    loaded[name] = assert(loadfile(folder .. name .. ".lua"))(use)
  end
  return loaded[name]
end

return use
