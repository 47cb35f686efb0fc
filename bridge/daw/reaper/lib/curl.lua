-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Messages to the bridge and back by curl, which most systems bring along. It runs beside REAPER,
-- posts an order's messages and writes what is answered into a file as it comes. Nothing here
-- waits. What curl is told is in a file as well, so only the path of that one must be quoted.

local use = ...
local line, spool, bridge_port, data = use("line"), use("spool"), use("port"), use("data")

local curl = {}
curl.__index = curl

local PATIENCE = 5 -- seconds, until the first answer
local MAX_AGE = 24 * 3600 -- seconds, of curl and of its files
local MAX_BYTES = 1 << 26 -- of answers
local MAX_NEWS = 4096 -- bytes of what curl says of itself
local ENDINGS = { ".curl", ".lines", ".answers", ".news", ".info" }
local ENDS = {
  ["/segue/job/done"] = true, ["/segue/job/cancelled"] = true, ["/segue/error"] = true,
}
local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function is_file(path)
  local file = io.open(path, "rb")
  local byte = file and file:read(1) -- a folder can be opened on some systems, and not read
  if file then file:close() end
  return byte ~= nil
end

--- Its whole path, for a REAPER that a desktop has started may search nowhere, and Windows
--- searches first where the project lies; nil where there is none.
local function program()
  if package.config:sub(1, 1) == "\\" then
    local path = (os.getenv("SystemRoot") or "C:\\Windows") .. "\\System32\\curl.exe"
    return is_file(path) and path or nil
  end
  local folders = os.getenv("PATH") or ""
  for folder in (folders == "" and "/usr/bin" or folders):gmatch("[^:]+") do
    local path = folder .. "/curl"
    if path:sub(1, 1) == "/" and is_file(path) then return path end
  end
end

--- REAPER parts a command at spaces outside of any of three marks, and knows no escapes.
local function quoted(path)
  if not path:find("[ \"'`]") then return path end
  for _, mark in ipairs({ '"', "'", "`" }) do
    if not path:find(mark, 1, true) then return mark .. path .. mark end
  end
end

--- The command; nil where there is no curl, or no way to name the file.
local function command(config)
  local path, file = program(), quoted(config)
  path = path and quoted(path)
  return path and file and ("%s -q -K %s"):format(path, file) -- -q: nobody's own settings
end

local function option(name, value)
  return ('%s = "%s"\n'):format(name, (value:gsub('[\\"\n\r\t]', ESCAPES)))
end

--- What both of its requests have in common.
local function request(port, target, seconds, output)
  return "fail\nconnect-timeout = 2\n"
    .. ("max-time = %d\nmax-filesize = %d\n"):format(seconds, MAX_BYTES)
    .. option("noproxy", "*")
    .. option("url", ("http://127.0.0.1:%d%s"):format(port, target))
    .. option("output", output)
end

--- What curl is told. An answer of another kind than 200, or one that is cut short, is an error.
--- First it asks who listens, and ends where nobody says: for the order's end it waits a day.
local function config(stem, port)
  return "silent\nshow-error\nfail-early\n"
    .. option("stderr", stem .. ".news")
    .. request(port, "/?HOST_INFO", PATIENCE, stem .. ".info")
    .. "next\nno-buffer\n"
    .. request(port, "/orders", MAX_AGE, stem .. ".answers")
    .. option("header", "Content-Type: application/x-osc-lines")
    .. option("header", "Expect:") -- else it waits a second before it sends a long order
    .. option("data-binary", "@" .. stem .. ".lines")
end

local function write(path, text)
  local file = io.open(path, "wb")
  local written = file and file:write(text) and file:flush()
  if file then file:close() end
  return written ~= nil and written ~= false
end

--- Whether curl says that something went wrong. It says nothing else.
local function has_failed(self)
  local file = io.open(self.stem .. ".news", "rb")
  local news = file and file:read(MAX_NEWS) or ""
  if file then file:close() end
  return news:find("curl: (", 1, true) ~= nil
end

--- Start curl with these lines.
local function post(self, text)
  if not write(self.stem .. ".lines", text) then return false end
  local begun = reaper.time_precise()
  local started = reaper.ExecProcess(self.command, -2) ~= nil -- -2: without waiting, minimised
  self.start_seconds = reaper.time_precise() - begun
  return started
end

--- Remove what a stop has left, or a system that keeps files which are in use.
local function sweep()
  for _, name in ipairs(data.names()) do
    local born = tonumber(name:match("^(%x+)%-") or "", 16)
    if born and os.time() - born > MAX_AGE then os.remove(data.folder() .. "/" .. name) end
  end
end

--- Begin to send these lines of an order; nil and why where curl cannot be asked.
function curl.new(id, text)
  local stem = ("%s/%x-%s"):format(data.folder(), os.time(), id)
  local self = setmetatable({
    stem = stem, port = bridge_port(), command = command(stem .. ".curl"), state = "open",
    file = spool.at(stem), heard = false, began = reaper.time_precise(),
  }, curl)
  if not self.command then return nil, "there is no curl" end
  sweep()
  if write(stem .. ".curl", config(stem, self.port)) and post(self, text) then return self end
  self:close()
  return nil, "curl cannot be started"
end

--- What has been answered since; an empty list most of the time.
function curl:answers()
  if self.state ~= "open" then return {} end
  local failed = has_failed(self) -- asked first, so that the last words are read all the same
  local messages, ended = self.file:answers(), false
  for _, message in ipairs(messages) do
    self.heard = self.heard or message.address:find("^/segue/") ~= nil
    ended = ended or ENDS[message.address]
  end
  local late = not self.heard and reaper.time_precise() - self.began > PATIENCE
  if ended or late or failed and #messages == 0 then self.state = "closed" end
  return messages
end

function curl:closed()
  return self.state == "closed"
end

function curl:close()
  self.state = "closed"
  if self.leaves then return end -- another curl has yet to read them
  for _, ending in ipairs(ENDINGS) do os.remove(self.stem .. ending) end
end

--- Say this last, unless what was asked for has ended.
function curl:finish(message)
  if self.state == "open" then self.leaves = post(self, line.write(message)) end
  self:close()
end

return curl
