-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The project's tempo map over a stretch, as rows (seconds from its start, beats a minute,
-- beats a bar). A beat is a quarter note. A tempo that glides becomes steps, each as long in
-- beats as the glide is there.

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
  local list = {}
  for index = 0, reaper.CountTempoTimeSigMarkers(proj) - 1 do
    local each = marker(proj, index)
    if each.time <= start + NEARBY then list[1] = each end
    if each.time > start + NEARBY and each.time < finish then list[#list + 1] = each end
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
  end
end

--- How many beats into its bar a time is; one that rounding put before a bar line lies on it.
local function first_beat(proj, time)
  local beat = reaper.TimeMap2_timeToQN(proj, time)
  local _, bar = reaper.TimeMap_QNToMeasures(proj, beat + NEARBY)
  return math.max(0, beat - bar)
end

--- The time so many bars after another one, or before it where they are negative.
function tempo.after_bars(proj, time, bars)
  local inside = bars < 0 and time - NEARBY or time
  local num, denom = reaper.TimeMap_GetTimeSigAtTime(proj, inside)
  local beat = reaper.TimeMap2_timeToQN(proj, time) + bars * metre(num, denom)
  if beat >= 0 then return reaper.TimeMap2_QNToTime(proj, beat) end
  local _, _, bpm = reaper.TimeMap_GetTimeSigAtTime(proj, 0) -- before the project: as at its start
  return beat * 60 / bpm
end

function tempo.rows(proj, start, finish)
  local num, denom, bpm = reaper.TimeMap_GetTimeSigAtTime(proj, start)
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
