-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Lists of numbers as the messages that bring them, before the order they belong to.

local use = ...
local pause = use("pause")

local rows = {}

local MAX_ROWS = 64 -- of one message

local function message(id, verb, list)
  return { address = "/segue/rows/" .. verb, { "s", id }, { "s", list.what } }
end

local function add(id, list, first, last)
  local found = message(id, "add", list)
  found[3] = { "i", (first - 1) // list.columns }
  for place = first, last do found[#found + 1] = { "d", list.values[place] } end
  return found
end

--- Messages of a list: {what, columns, values} and, where they are not the usual ones, unit,
--- scale and first_beat.
function rows.messages(id, list)
  local total = { "i", #list.values // list.columns }
  local begin, finish = message(id, "begin", list), message(id, "end", list)
  table.move({ total, { "s", list.unit or "" }, { "s", list.scale or "" },
    { "d", list.first_beat or 0 } }, 1, 4, 3, begin)
  finish[3] = total
  local messages, step = { begin }, MAX_ROWS * list.columns
  for first = 1, #list.values, step do
    messages[#messages + 1] = add(id, list, first, math.min(first + step - 1, #list.values))
    pause.message()
  end
  messages[#messages + 1] = finish
  return messages
end

return rows
