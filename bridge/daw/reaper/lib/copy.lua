-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A file copied into the project, a little at every turn, under a name that is not taken.

local copy = {}
copy.__index = copy

local BYTES_A_TURN = 1 << 20
local MAX_NAMES = 1000
local FULL = "the disk takes no more"

local function taken(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local function free_name(folder, name)
  local path = folder .. "/" .. name .. ".wav"
  for number = 2, MAX_NAMES do
    if not taken(path) then return path end
    path = ("%s/%s-%d.wav"):format(folder, name, number)
  end
end

function copy.new(from, folder, name)
  local source = io.open(from, "rb")
  if not source then return nil, "the clip is gone: " .. from end
  local path = free_name(folder, name)
  local target = path and io.open(path, "wb")
  if not target then
    source:close()
    return nil, "cannot write into " .. folder
  end
  return setmetatable({ source = source, target = target, path = path }, copy)
end

--- Give up, and leave nothing behind. Returns nil and `problem`.
function copy:stop(problem)
  self.source:close()
  self.target:close()
  os.remove(self.path)
  return nil, problem
end

--- The new path once all is there, false before, nil and a problem.
function copy:step()
  local bytes, unreadable = self.source:read(BYTES_A_TURN)
  if unreadable then return self:stop(unreadable) end
  local written = bytes and self.target:write(bytes) or not bytes and self.target:flush()
  if not written then return self:stop(FULL) end
  if bytes then return false end
  self.source:close()
  self.target:close()
  return self.path
end

return copy
