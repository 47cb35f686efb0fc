-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Messages to the bridge and back over a TCP connection of this machine: OSC 1.0, each packet
-- behind its length. A turn does not wait: it sends what is taken and reads what is there.

local use = ...
local osc, luasocket, bridge_port = use("osc"), use("luasocket"), use("port")

local stream = {}
stream.__index = stream

local HOST = "127.0.0.1"
local PATIENCE = 2 -- seconds, until the first answer
local GOODBYE = 0.025 -- seconds at most, until the other end has hung up too
local MAX_UNSENT = 1 << 15 -- bytes from which on no more messages are made into packets
local PIECES_A_TURN = 410 -- that is 16 KiB
-- Longer strings are laid out otherwise from Lua 5.4.7 on, and a library that brings 5.4.6 along
-- makes them its own way.
local PIECE = 40
local MAX_PACKET = 65535 -- what the bridge takes too

--- What the connection takes of what is to be sent. Raises an error where it is broken.
local function send(self)
  while self.packed < #self.messages and #self.unsent < MAX_UNSENT do
    self.packed = self.packed + 1
    local packet = osc.encode(self.messages[self.packed])
    self.unsent = self.unsent .. string.pack(">s4", packet)
  end
  local last, problem, part = self.tcp:send(self.unsent)
  self.unsent = self.unsent:sub((last or part) + 1)
  assert(last or problem == "timeout", problem)
end

local function push(self)
  if self.state == "connecting" and self.tcp:getpeername() then self.state = "open" end
  if self.state == "open" then send(self) end
end

--- Takes the messages that are whole off what was read. Raises an error where they are none.
local function unpack_into(messages, self)
  local at = 1
  while #self.unread - at >= 3 do
    local size = string.unpack(">I4", self.unread, at)
    assert(size > 0 and size <= MAX_PACKET, "no length")
    if #self.unread - at < 3 + size then break end
    messages[#messages + 1] = osc.decode(self.unread:sub(at + 4, at + 3 + size))
    at = at + 4 + size
  end
  self.unread = self.unread:sub(at)
end

local function receive(self, messages)
  local pieces = { self.unread }
  local all, problem, part
  repeat
    all, problem, part = self.tcp:receive(PIECE)
    pieces[#pieces + 1] = all or part
  until problem or #pieces > PIECES_A_TURN
  self.unread = table.concat(pieces)
  self.heard = self.heard or self.unread ~= ""
  unpack_into(messages, self)
  assert(all or problem == "timeout", problem)
end

local function turn(self, messages)
  push(self)
  if self.state == "open" then receive(self, messages) end
end

--- Do it; where that fails the connection is of no use any more.
local function try(self, what, ...)
  if self.state ~= "closed" and not pcall(what, self, ...) then self:close() end
end

--- Begin to send these messages; nil and why where there are no sockets.
function stream.new(messages)
  local core, problem = luasocket()
  local tcp = core and core.tcp4()
  if not tcp then return nil, problem or "this system has no socket left" end
  local self = setmetatable({
    tcp = tcp, port = bridge_port(), state = "connecting", heard = false,
    began = reaper.time_precise(), messages = table.move(messages, 1, #messages, 1, {}),
    packed = 0, unsent = "", unread = "", clock = core.gettime,
  }, stream)
  tcp:settimeout(0)
  tcp:setoption("tcp-nodelay", true)
  tcp:connect(HOST, self.port)
  try(self, push)
  return self
end

--- What has been answered since; an empty list most of the time.
function stream:answers()
  local messages = {}
  try(self, turn, messages)
  if not self.heard and reaper.time_precise() - self.began > PATIENCE then self:close() end
  return messages
end

function stream:closed()
  return self.state == "closed"
end

--- Send what is taken, and read until the other end has read it too and hung up: an answer that
--- comes after a hang-up resets the connection, and what was sent and not yet read may be lost.
local function hang_up(self)
  local over = self.clock() + GOODBYE
  push(self)
  self.tcp:shutdown("send")
  repeat
    self.tcp:settimeout(math.max(0, over - self.clock()))
  until not self.tcp:receive(PIECE) or self.clock() > over
end

--- Say this last, and hang up.
function stream:finish(message)
  self.messages[#self.messages + 1] = message
  try(self, hang_up)
  self:close()
end

function stream:close()
  if self.state ~= "closed" then self.tcp:close() end
  self.state = "closed"
end

return stream
