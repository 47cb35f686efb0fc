-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Which stretch of which track is meant: time selection, razor edit, else the selected item.
-- Times are project seconds.

local use = ...
local pause = use("pause")

local region = {}

local MAX_SECONDS = 600 -- what Segue takes
local CONTEXT_SECONDS = 8 -- heard beside a gap
local MAX_ITEM_SECONDS = 120 -- an item up to this long is taken whole around a gap
local DEFAULT_RATE = 48000
local NONE = "select some time and a track, make a razor edit, or select an item"
local ALL = "select the time that is to be made anew, inside the item"

function region.rate(proj)
  if reaper.GetSetProjectInfo(proj, "PROJECT_SRATE_USE", 0, false) ~= 0 then
    return math.floor(reaper.GetSetProjectInfo(proj, "PROJECT_SRATE", 0, false))
  end
  local known, text = reaper.GetAudioDeviceInfo("SRATE")
  return known and math.tointeger(tonumber(text)) or DEFAULT_RATE
end

--- The project's sample that is nearest, as a time.
function region.snap(time, rate)
  return math.floor(time * rate + 0.5) / rate
end

function region.bounds(item)
  local start = reaper.GetMediaItemInfo_Value(item, "D_POSITION")
  return start, start + reaper.GetMediaItemInfo_Value(item, "D_LENGTH")
end

--- The first selected one that sounds between two times.
local function selected_audio_item(proj, start, finish)
  for i = 0, reaper.CountSelectedMediaItems(proj) - 1 do
    local item = reaper.GetSelectedMediaItem(proj, i)
    local take = reaper.GetActiveTake(item)
    local first, last = region.bounds(item)
    local meets = first < finish and last > start
    if take and meets and not reaper.TakeIsMIDI(take) then return item end
    pause.reading()
  end
end

local function by_time(proj)
  local start, finish = reaper.GetSet_LoopTimeRange2(proj, false, false, 0, 0, false)
  if finish <= start then return nil end
  local item = selected_audio_item(proj, start, finish)
  local track = item and reaper.GetMediaItemTrack(item) or reaper.GetSelectedTrack(proj, 0)
  return track and { track = track, start = start, finish = finish }
end

local function by_razor(proj)
  for i = 0, reaper.CountTracks(proj) - 1 do
    local track = reaper.GetTrack(proj, i)
    local _, areas = reaper.GetSetMediaTrackInfo_String(track, "P_RAZOREDITS", "", false)
    for start, finish, envelope in areas:gmatch('(%S+) (%S+) "([^"]*)"') do
      if envelope == "" then
        return { track = track, start = tonumber(start), finish = tonumber(finish) }
      end
    end
    pause.reading()
  end
end

local function by_item(proj)
  local item = selected_audio_item(proj, -math.huge, math.huge)
  if not item then return nil end
  local start, finish = region.bounds(item)
  return { track = reaper.GetMediaItemTrack(item), start = start, finish = finish, whole = true }
end

--- The item of the track that alone covers a stretch, else nil.
function region.only_item(track, start, finish)
  local only
  for i = 0, reaper.CountTrackMediaItems(track) - 1 do
    local item = reaper.GetTrackMediaItem(track, i)
    local first, last = region.bounds(item)
    if first < finish and last > start then
      if only or first > start + 1e-9 or last < finish - 1e-9 then return nil end
      only = item
    end
    pause.reading()
  end
  return only
end

--- {track, start, finish}, or nil and what to select; `gap`: a part that is to be made anew.
function region.find(proj, gap)
  local found = by_time(proj) or by_razor(proj) or by_item(proj)
  if not found then return nil, NONE end
  if gap and found.whole then return nil, ALL end
  if found.finish - found.start > MAX_SECONDS then
    return nil, ("select at most %d seconds"):format(MAX_SECONDS)
  end
  return found
end

--- The gap, and around it what is to be heard of its surroundings: the whole item or a part.
function region.around(found)
  local first, last = found.start - CONTEXT_SECONDS, found.finish + CONTEXT_SECONDS
  local item = region.only_item(found.track, found.start, found.finish)
  if item then
    local from, to = region.bounds(item)
    if to - from <= MAX_ITEM_SECONDS then first, last = from, to end
    first, last = math.max(first, from), math.min(last, to)
  end
  local wider = { track = found.track, start = math.max(first, 0), finish = last }
  wider.gap = { start = found.start, finish = found.finish }
  return wider
end

return region
