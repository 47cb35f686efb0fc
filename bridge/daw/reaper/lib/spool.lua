-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The folder through which Segue is reached: files are all that REAPER's Lua has by itself.
-- An order is a file that appears whole; its answers are added to another one. Segue's side
-- asks again and waits as long as it takes; nothing here waits. An order taken away is stopped.

local use = ...
local line = use("line")

local spool = {}
spool.__index = spool

local PATIENCE = 5 -- seconds
local BYTES_A_TURN = 1 << 17 -- of answers; the longest line has fewer

local ABSENT = "Segue is not there: start it with `segue up`"
-- Or the part of it that looks into the folder has ended, as its terminal says.
spool.UNATTENDED = "Segue does not answer: start `segue up`, or start it anew; this waits"

function spool.folder()
  local chosen = os.getenv("SEGUE_SPOOL")
  if chosen and chosen ~= "" then return chosen end
  return (os.getenv("USERPROFILE") or os.getenv("HOME") or ".") .. "/.segue/spool"
end

--- An order by its files' path without ending.
function spool.at(stem)
  return setmetatable({ stem = stem, read = 0 }, spool)
end

--- The order of an id, wherever it came from.
function spool.of(id)
  return spool.at(spool.folder() .. "/" .. id)
end

--- Leave an order of these lines; nil and what to do where there is no such folder.
function spool.order(id, text)
  local self = spool.of(id)
  local part = self.stem .. ".part"
  local file = io.open(part, "wb")
  if not file then return nil, ABSENT end
  local written = file:write(text) and file:flush()
  file:close()
  if not (written and os.rename(part, self.stem .. ".order")) then
    os.remove(part)
    return nil, "cannot write into " .. spool.folder()
  end
  return self
end

--- The answers that have come since; an empty list most of the time.
function spool:answers()
  local file = io.open(self.stem .. ".answers", "rb")
  if not file then return {} end
  file:seek("set", self.read)
  local text, messages = file:read(BYTES_A_TURN) or "", {}
  file:close()
  for each in text:gmatch("([^\n]*)\n") do -- a line without its end is still being written
    messages[#messages + 1] = line.read(each)
    self.read = self.read + #each + 1
  end
  return messages
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- Whether somebody looks after the order: Segue's side takes each `.ping` away at once.
function spool:attended(now)
  if self.pinged and now - self.pinged < PATIENCE then return self.answered end
  local path = self.stem .. ".ping"
  self.pinged, self.answered = now, not exists(path)
  local file = self.answered and io.open(path, "wb")
  if file then file:close() end
  return self.answered
end

--- Nothing more is wanted of it: a job that has not ended is stopped.
function spool:close()
  for _, ending in ipairs({ ".order", ".answers", ".ping" }) do os.remove(self.stem .. ending) end
end

return spool
