-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A task and its audio as the order that Segue gets, with the rows that belong to it.

local use = ...
local tempo, curves, rows, tasks = use("tempo"), use("curves"), use("rows"), use("tasks")
local line = use("line")

local order = {}

--- Where the new music will be and the time it joins at; nil where nothing is added.
local function new_music(proj, task, audio, wish, gap)
  local start, finish = audio.start, audio.start + audio.length
  if gap then return { start = gap.start, length = gap.finish - gap.start, seam = gap.start } end
  if not task.side then return nil end
  local function away(time, direction)
    if wish.unit == "bars" then return tempo.after_bars(proj, time, direction * wish.length) end
    return time + direction * wish.length
  end
  if task.side == "left" then
    local first = away(start, -1)
    return { start = first, length = start - first, seam = start }
  end
  return { start = finish, length = away(finish, 1) - finish, seam = finish }
end

--- New seconds and new bars, 0 for what is not said. The tempo map that Segue gets begins with the
--- region, so bars before it are said in seconds.
local function lengths(task, wish, new)
  if not task.side then return 0, 0 end
  if wish.unit == "seconds" then return wish.length, 0 end
  if task.side == "left" then return new.length, 0 end
  return 0, wish.length
end

local function follows(task)
  return task.side == "right" or task.side == "left" or task.gap
end

local function lists_of(proj, task, audio, wish, found, new)
  local finish = audio.start + audio.length + (new and task.side and new.length or 0)
  local lists = { tempo.rows(proj, audio.start, finish) }
  if found.gap then
    local values = { found.gap.start - audio.start, found.gap.finish - found.gap.start }
    lists[#lists + 1] = { what = "gaps", columns = 2, values = values }
  end
  if new and follows(task) then
    local drawn = wish.curve and curves.intensity(proj, found.track, new, audio.rate)
    lists[#lists + 1] = drawn or nil
    lists[#lists + 1] = wish.line and curves.melody(proj, new) or nil
  end
  return lists
end

--- An order as lists of numbers and a message, and the time where the new music joins; with
--- pauses, for there may be much to read.
--- wish: task, preset, length, unit ("seconds" or "bars"), seed, text, curve, line.
function order.read(proj, id, wish, found, audio)
  local task = tasks[wish.task]
  local new = new_music(proj, task, audio, wish, found.gap)
  local new_seconds, new_bars = lengths(task, wish, new)
  local make = {
    address = "/segue/make",
    { "s", id }, { "s", audio.path }, { "d", audio.start_seconds }, { "d", audio.length },
    { "s", wish.preset }, { "d", new_seconds }, { "d", new_bars }, { "d", 0 },
    { "i", wish.seed }, { "s", wish.text },
  }
  local lists = lists_of(proj, task, audio, wish, found, new)
  return { id = id, lists = lists, make = make, seam = new and new.seam or audio.start }
end

--- Its messages, the rows before it, and their text; with pauses, for there may be many.
function order.encode(read)
  local messages = {}
  for _, list in ipairs(read.lists) do
    local its = rows.messages(read.id, list)
    table.move(its, 1, #its, #messages + 1, messages)
  end
  messages[#messages + 1] = read.make
  return messages, line.text(messages)
end

return order
