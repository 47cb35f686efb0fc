-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- How Segue is asked: by files, which wait and outlive REAPER, and by a quicker way as well: over
-- a socket, or else by curl. Segue makes one job of an id, however often it is asked for; so
-- nothing is handed over when the quicker way breaks: the files have been there all the time.

local use = ...
local spool, stream, curl = use("spool"), use("stream"), use("curl")

local wire = {}
wire.__index = wire

local JOB = "^/segue/job/"
local QUIET = 5 -- seconds: a curl that was killed says nothing, so the files are read too
local HELD_UP = { ["queue-full"] = true, ["server-unreachable"] = true }

--- The quickest way there is, with these messages on it, and its name; or nil, and why. `text`
--- is their lines.
function wire.quick(id, messages, text)
  local socket, no_socket = stream.new(messages)
  if socket then return socket, "over a socket" end
  local posted, no_curl = curl.new(id, text)
  if posted then return posted, ("by curl (%s)"):format(no_socket) end
  return nil, ("%s, and %s"):format(no_socket, no_curl)
end

--- Leave an order of these messages; nil and what to do where there is no way.
function wire.order(id, messages, text)
  local files, problem = spool.order(id, text)
  local fast = wire.quick(id, messages, text)
  if not fast then return files, problem end
  local self = { id = id, files = files, problem = problem, stream = fast, live = false }
  return setmetatable(self, wire)
end

--- What is to be asked again until it goes well, as only Segue's side of the files does.
local function waits(message)
  local error_code = message.address == "/segue/error" and message[2]
  return HELD_UP[error_code] or message.address == "/segue/rows/missing"
end

local function over_the_stream(self)
  local messages = {}
  for _, message in ipairs(self.stream:answers()) do
    if self.files and waits(message) then
      self.stream:close()
      break
    end
    self.live = self.live or message.address:find(JOB) ~= nil
    messages[#messages + 1] = message
  end
  self.live = self.live and not self.stream:closed()
  if #messages > 0 then self.heard_at = reaper.time_precise() end
  return messages
end

local function speaks(self)
  return self.live and reaper.time_precise() - self.heard_at < QUIET
end

--- The answers that have come since; an empty list most of the time.
function wire:answers()
  local messages = over_the_stream(self)
  if speaks(self) then return messages end -- what the files say of it comes later
  if self.files then
    local others = self.files:answers()
    table.move(others, 1, #others, #messages + 1, messages)
  elseif self.stream:closed() then
    local nobody = { address = "/segue/error", self.id, "server-unreachable", self.problem }
    messages[#messages + 1] = nobody
  end
  return messages
end

--- Whether somebody looks after the order.
function wire:attended(now)
  return self.live or not self.files or self.files:attended(now)
end

--- Nothing more is wanted of it: a job that has not ended is stopped.
function wire:close()
  self.stream:finish({ address = "/segue/cancel", { "s", self.id } })
  if self.files then self.files:close() end
end

return wire
