-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What is read of the project over turns, all of it as it is at one moment: where the project
-- changes between two turns, what has been read is dropped and all is read anew. What was read
-- could be compared with the project instead, but that is to read it once more.

local reading = {}
reading.__index = reading

local MAX_TRIES = 5 -- over turns; some plug-ins change the project all the time

--- `read` begins anew whenever it is called, and returns what it has read.
function reading.new(proj, read)
  return setmetatable({ proj = proj, read = read, tries = 0 }, reading)
end

--- Read on for one turn: what was read once it is all there, false before.
function reading:step()
  local changes = reaper.GetProjectStateChangeCount(self.proj)
  if changes ~= self.changes then
    self.changes, self.tries = changes, self.tries + 1
    self.work = coroutine.create(self.read)
  end
  if self.tries > MAX_TRIES then return self.read() end -- in this turn, however long it takes
  local worked, found = coroutine.resume(self.work)
  -- A script may remove what is being read, and REAPER counts only what can be undone.
  if not worked then self.changes = nil end
  return worked and coroutine.status(self.work) == "dead" and found
end

return reading
