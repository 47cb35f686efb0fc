-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The project's tempo map over a stretch, as rows (seconds from its start, beats a minute,
-- beats a bar). A beat is a quarter note. A tempo that glides becomes steps, each as long in
-- beats as the glide is there.

local use = ...
local pause = use("pause")

local tempo = {}

local GLIDE_SECONDS = 0.25 -- of one step
local COLUMNS = 3
local NEARBY = 1e-7 -- seconds; markers this near are at the same place

local function metre(num, denom)
  return num * 4 / denom
end

local function marker(proj, index)
  local found, time, _, _, bpm, num, denom, glides = reaper.GetTempoTimeSigMarker(proj, index)
  return found and { time = time, bpm = bpm, num = num, denom = denom, glides = glides }
end

--- Markers from the one in force at `start` on, up to `finish`.
local function markers(proj, start, finish)
  local list, first = {}, reaper.FindTempoTimeSigMarker(proj, start + NEARBY)
  for index = math.max(first, 0), reaper.CountTempoTimeSigMarkers(proj) - 1 do
    local each = marker(proj, index)
    if each.time <= start + NEARBY then
      list[1] = each
    elseif each.time < finish then
      list[#list + 1] = each
    else
      break
    end
    pause.reading()
  end
  return list
end

local function bpm_between(proj, from, to)
  local beats = reaper.TimeMap2_timeToQN(proj, to) - reaper.TimeMap2_timeToQN(proj, from)
  return beats * 60 / (to - from)
end

local function add(rows, seconds, bpm, beats)
  table.move({ seconds, bpm, beats }, 1, COLUMNS, #rows + 1, rows)
end

local function add_glide(rows, proj, start, from, to, beats)
  local steps = math.max(1, math.ceil((to - from) / GLIDE_SECONDS))
  local step = (to - from) / steps
  for i = 0, steps - 1 do
    local at = from + i * step
    add(rows, at - start, bpm_between(proj, at, at + step), beats)
    pause.reading()
  end
end

--- How many beats into its bar a time is; one that rounding put before a bar line lies on it.
local function first_beat(proj, time)
  local beat = reaper.TimeMap2_timeToQN(proj, time)
  local _, bar = reaper.TimeMap_QNToMeasures(proj, beat + NEARBY)
  return math.max(0, beat - bar)
end

--- Where each metre begins, in beats and in bars from the project's start, and its bar's beats.
local function metres(proj)
  local num, denom = reaper.TimeMap_GetTimeSigAtTime(proj, 0)
  local last = { beats = 0, bars = 0, bar = metre(num, denom) }
  local list = { last }
  for index = 0, reaper.CountTempoTimeSigMarkers(proj) - 1 do
    local each = marker(proj, index)
    if each.num > 0 then
      local beats = reaper.TimeMap2_timeToQN(proj, each.time)
      local bars = last.bars + (beats - last.beats) / last.bar
      last = { beats = beats, bars = bars, bar = metre(each.num, each.denom) }
      list[#list + 1] = last
    end
    pause.reading()
  end
  return list
end

--- The last metre that has begun at a place in "beats" or "bars", else the first one.
local function in_force(list, unit, place)
  local found = list[1]
  for _, each in ipairs(list) do
    if each[unit] <= place then found = each end
  end
  return found
end

--- The time so many bars after another one, or before it where they are negative.
function tempo.after_bars(proj, time, bars)
  local list, beats = metres(proj), reaper.TimeMap2_timeToQN(proj, time)
  local from = in_force(list, "beats", beats)
  local target = from.bars + (beats - from.beats) / from.bar + bars
  local to = in_force(list, "bars", target)
  beats = to.beats + (target - to.bars) * to.bar
  if beats >= 0 then return reaper.TimeMap2_QNToTime(proj, beats) end
  local _, _, bpm = reaper.TimeMap_GetTimeSigAtTime(proj, 0) -- before the project: as at its start
  return beats * 60 / bpm
end

function tempo.rows(proj, start, finish)
  local num, denom, bpm = reaper.TimeMap_GetTimeSigAtTime(proj, start + NEARBY)
  local list, rows = markers(proj, start, finish), {}
  if not list[1] or list[1].time > start + NEARBY then
    table.insert(list, 1, { time = start, bpm = bpm, num = num, denom = denom })
  end
  for i, each in ipairs(list) do
    local from = math.max(each.time, start)
    local to = list[i + 1] and list[i + 1].time or finish
    if i > 1 and each.num > 0 then num, denom = each.num, each.denom end
    if each.glides and to > from then
      add_glide(rows, proj, start, from, to, metre(num, denom))
    else
      add(rows, i == 1 and 0 or each.time - start, each.bpm, metre(num, denom))
    end
  end
  return { what = "tempo", columns = COLUMNS, values = rows,
    first_beat = first_beat(proj, start) }
end

return tempo
