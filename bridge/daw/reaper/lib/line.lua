-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- OSC messages as lines of text: address, type tags and arguments, parted by tabs.
-- A message to send is {address = "/a", {"s", "text"}, {"d", 1.5}}; one that came holds the
-- values alone: {address = "/a", "text", 1.5}.

local use = ...
local pause = use("pause")

local line = {}

local ESCAPES = { ["\\"] = "\\\\", ["\t"] = "\\t", ["\n"] = "\\n", ["\r"] = "\\r" }
local MEANT = { ["\\\\"] = "\\", ["\\t"] = "\t", ["\\n"] = "\n", ["\\r"] = "\r" }
local FORMATS = { d = "%.17g", i = "%d", h = "%d" }

local function text_of(tag, value)
  if tag == "s" then return (value:gsub("[\\\t\n\r]", ESCAPES)) end
  return FORMATS[tag]:format(value)
end

local function value_of(tag, text)
  if tag == "s" then return (text:gsub("\\[\\tnr]", MEANT)) end
  if tag == "d" or tag == "f" then return tonumber(text) end
  return math.tointeger(tonumber(text))
end

--- The line of a message, its end included.
function line.write(message)
  local tags, fields = {}, { message.address, "" }
  for _, argument in ipairs(message) do
    tags[#tags + 1] = argument[1]
    fields[#fields + 1] = text_of(argument[1], argument[2])
  end
  fields[2] = table.concat(tags)
  return table.concat(fields, "\t") .. "\n"
end

--- The lines of these messages.
function line.text(messages)
  local lines = {}
  for place, message in ipairs(messages) do
    lines[place] = line.write(message)
    pause.message()
  end
  return table.concat(lines)
end

--- The message of a line without its end.
function line.read(text)
  local fields = {}
  for field in (text .. "\t"):gmatch("([^\t]*)\t") do fields[#fields + 1] = field end
  local message, tags = { address = fields[1] }, fields[2] or ""
  for place = 1, #tags do
    message[place] = value_of(tags:sub(place, place), fields[place + 2] or "")
  end
  return message
end

return line
