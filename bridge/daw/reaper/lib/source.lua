-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The file behind an item that nothing has been done to: it can be read as it is.
-- Whatever the item changes about its file (rate, pitch, gain, fades, effects, loops) must be
-- heard, so such an item is bounced instead.

local use = ...
local region = use("region")

local source = {}

local READABLE = { WAVE = true, FLAC = true, AIFF = true }
local PLAIN_ITEM = { D_VOL = 1, B_MUTE = 0, B_ALLTAKESPLAY = 0 }
local PLAIN_TAKE = {
  D_VOL = 1, D_PAN = 0, D_PLAYRATE = 1, D_PITCH = 0, I_CHANMODE = 0, ["IP_SPECEDIT:CNT"] = 0,
}

local function all_equal(read, object, wanted)
  for name, value in pairs(wanted) do
    if math.abs(read(object, name) - value) > 1e-9 then return false end
  end
  return true
end

--- Whether an item changes nothing about what its takes play, its fades aside.
function source.is_plain(item)
  return all_equal(reaper.GetMediaItemInfo_Value, item, PLAIN_ITEM)
end

local function untouched(item, take)
  return source.is_plain(item)
    and all_equal(reaper.GetMediaItemTakeInfo_Value, take, PLAIN_TAKE)
    and reaper.GetTakeNumStretchMarkers(take) == 0
    and reaper.TakeFX_GetCount(take) == 0
    and reaper.CountTakeEnvelopes(take) == 0
end

--- How long an item's fades are, in and out.
function source.fades(item)
  local function longer(drawn, automatic)
    local auto = reaper.GetMediaItemInfo_Value(item, automatic) -- 0: none; -1: never any
    return auto > 0 and auto or reaper.GetMediaItemInfo_Value(item, drawn)
  end
  return longer("D_FADEINLEN", "D_FADEINLEN_AUTO"), longer("D_FADEOUTLEN", "D_FADEOUTLEN_AUTO")
end

local function clear_of_fades(item, start, finish)
  local first, last = region.bounds(item)
  local fade_in, fade_out = source.fades(item)
  local overlap = start < first + fade_in - 1e-9 or finish > last - fade_out + 1e-9
  return not overlap
end

--- The stretch in the file's own samples: {path, start_seconds, length, start, rate}, where
--- `start` is its first sample's project time.
local function in_file(item, take, file, start, finish)
  local rate = reaper.GetMediaSourceSampleRate(file)
  local position = region.bounds(item)
  local offset = reaper.GetMediaItemTakeInfo_Value(take, "D_STARTOFFS")
  local first = region.snap(offset + start - position, rate)
  local last = region.snap(offset + finish - position, rate)
  if first < 0 or last > reaper.GetMediaSourceLength(file) + 0.5 / rate then return nil end
  return {
    path = reaper.GetMediaSourceFileName(file),
    start_seconds = first,
    length = last - first,
    start = position + first - offset,
    rate = rate,
  }
end

--- The file under a region, or nil where it must be bounced. With `whole` the region is the
--- item, whose fades will fall on what replaces it too, and so do not count.
function source.find(found, whole)
  local item = region.only_item(found.track, found.start, found.finish)
  local take = item and reaper.GetActiveTake(item)
  if not take or reaper.TakeIsMIDI(take) or not untouched(item, take) then return nil end
  if not whole and not clear_of_fades(item, found.start, found.finish) then return nil end
  local file = reaper.GetMediaItemTake_Source(take)
  if not file or not READABLE[reaper.GetMediaSourceType(file)] then return nil end
  local audio = in_file(item, take, file, found.start, found.finish)
  if audio and whole then
    local first, last = region.bounds(item)
    local same = math.abs(first - found.start) < 1e-9 and math.abs(last - found.finish) < 1e-9
    if not same then return nil end
    local _, id = reaper.GetSetMediaItemTakeInfo_String(take, "GUID", "", false)
    audio.take = id
  end
  return audio
end

return source
