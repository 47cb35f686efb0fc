-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- OSC 1.0 messages as bytes. They are the tables that `line` writes and reads: a message to send
-- names its type tags, one that came holds the values alone.

local osc = {}

local BIG_ENDIAN = ">!4"
local TEXT = "zXi4" -- ends with a zero, and with more of them up to a multiple of four
local FORMS = { s = TEXT, d = "d", f = "f", i = "i4", h = "i8" }

--- The bytes of a message. Raises an error where a value does not fit its tag.
function osc.encode(message)
  local tags, forms, values = { "," }, { BIG_ENDIAN, TEXT, TEXT }, {}
  for place, argument in ipairs(message) do
    tags[place + 1], values[place] = argument[1], argument[2]
    forms[place + 3] = assert(FORMS[argument[1]], "no such type tag")
  end
  local form = table.concat(forms)
  return string.pack(form, message.address, table.concat(tags), table.unpack(values))
end

--- The message of these bytes. Raises an error where they are none.
function osc.decode(bytes)
  local address, tags, at = string.unpack(BIG_ENDIAN .. TEXT .. TEXT, bytes)
  assert(tags:sub(1, 1) == ",", "no type tags")
  local message = { address = address }
  for place = 2, #tags do
    local form = assert(FORMS[tags:sub(place, place)], "no such type tag")
    message[place - 1], at = string.unpack(BIG_ENDIAN .. form, bytes, at)
  end
  assert(at == #bytes + 1, "bytes are left")
  return message
end

return osc
