-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The folder in REAPER's own for what scripts keep only as long as they need it.

local data = {}

local MAX_FILES = 4096 -- that are looked at

function data.folder()
  local folder = reaper.GetResourcePath() .. "/Data/Segue"
  reaper.RecursiveCreateDirectory(folder, 0)
  return folder
end

--- The names of the files in it.
function data.names()
  local folder, names = data.folder(), {}
  reaper.EnumerateFiles(folder, -1) -- else it says what it remembers
  for place = 0, MAX_FILES do
    local name = reaper.EnumerateFiles(folder, place)
    if not name then break end
    names[#names + 1] = name
  end
  return names
end

return data
