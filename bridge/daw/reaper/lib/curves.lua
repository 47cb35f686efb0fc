-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What the producer has drawn, as rows: an envelope as the new music's level, a MIDI item's
-- notes as its line. Times count from the beginning of the new music.

local use = ...
local pause = use("pause")

local curves = {}

local STEP_SECONDS = 0.05
local MIN_DB, MAX_DB = -60, 30 -- what Segue takes
local MAX_NOTES = 10000
local VOLUMES = { ["Volume"] = true, ["Volume (Pre-FX)"] = true, ["Trim Volume"] = true }

--- The track's volume envelope; nil where there is none or it is bypassed.
local function volume_envelope(track)
  local envelope = reaper.GetTrackEnvelopeByName(track, "Volume")
  if not envelope then return nil end
  local _, active = reaper.GetSetEnvelopeInfo_String(envelope, "ACTIVE", "", false)
  return active ~= "0" and envelope or nil
end

--- The selected track envelope, else the track's volume, else nil.
local function envelope_of(proj, track)
  local envelope = reaper.GetSelectedEnvelope(proj)
  if envelope and not reaper.Envelope_GetParentTake(envelope) then return envelope end
  return volume_envelope(track)
end

local function value_at(envelope, time, rate)
  local _, raw = reaper.Envelope_Evaluate(envelope, time, rate, 1)
  return reaper.ScaleFromEnvelopeMode(reaper.GetEnvelopeScalingMode(envelope), raw)
end

local function decibels(gain)
  return 20 * math.log(math.max(gain, 1e-9), 10)
end

local function within(value, low, high)
  return math.max(low, math.min(high, value))
end

local function volume(gain)
  return within(decibels(gain), MIN_DB, MAX_DB)
end

--- How loud the track's volume envelope plays what is read before it, as a factor.
function curves.level(track, time, rate)
  local envelope = volume_envelope(track)
  return envelope and 10 ^ (volume(value_at(envelope, time, rate)) / 20) or 1
end

--- The lowest and the highest value of an envelope that is no volume.
local function range(envelope, name)
  local track, effect, parameter = reaper.Envelope_GetParentTrack(envelope)
  if track and effect >= 0 then
    local _, low, high = reaper.TrackFX_GetParam(track, effect, parameter)
    return low, high
  end
  local two_sided = name:find("Pan", 1, true) or name:find("Width", 1, true)
  return two_sided and -1 or 0, 1
end

local function share(value, low, high)
  return high > low and within((value - low) / (high - low), 0, 1) or 0
end

local function any_difference(values)
  for place = 4, #values, 2 do
    if values[place] ~= values[2] then return true end
  end
  return false
end

--- new: start, length and seam of the new music. Nil where nothing is drawn.
function curves.intensity(proj, track, new, rate)
  local envelope = envelope_of(proj, track)
  if not envelope then return nil end
  local _, name = reaper.GetEnvelopeName(envelope)
  local low, high = range(envelope, name)
  local scale, level = "share", function(value) return share(value, low, high) end
  if VOLUMES[name] then
    local seam = volume(value_at(envelope, new.seam, rate))
    scale, level = "db", function(gain) return within(volume(gain) - seam, MIN_DB, MAX_DB) end
  end
  local values, steps = {}, math.ceil(new.length / STEP_SECONDS)
  for step = 0, steps do
    local time = math.min(step * STEP_SECONDS, new.length)
    values[#values + 1] = time
    values[#values + 1] = level(value_at(envelope, new.start + time, rate))
    pause.reading()
  end
  if not any_difference(values) then return nil end
  return { what = "intensity", columns = 2, values = values, scale = scale }
end

local function selected_midi(proj)
  for i = 0, reaper.CountSelectedMediaItems(proj) - 1 do
    local item = reaper.GetSelectedMediaItem(proj, i)
    local take = reaper.GetActiveTake(item)
    if take and reaper.TakeIsMIDI(take) then return item, take end
    pause.reading()
  end
end

--- Where the item's time 0 of the line is: the new music if it lies there, else its own start.
local function line_start(item, new)
  local first = reaper.GetMediaItemInfo_Value(item, "D_POSITION")
  local last = first + reaper.GetMediaItemInfo_Value(item, "D_LENGTH")
  local there = first < new.start + new.length and last > new.start
  return there and new.start or first, last
end

local function note_at(take, index, start, finish)
  local found, _, muted, first, last, _, pitch = reaper.MIDI_GetNote(take, index)
  if not found or muted then return nil end
  first = math.max(reaper.MIDI_GetProjTimeFromPPQPos(take, first), start)
  last = math.min(reaper.MIDI_GetProjTimeFromPPQPos(take, last), finish)
  if last <= first then return nil end
  return first - start, last - first, pitch
end

function curves.melody(proj, new)
  local item, take = selected_midi(proj)
  if not item then return nil end
  local start, last = line_start(item, new)
  local finish = math.min(last, start + new.length)
  local _, count = reaper.MIDI_CountEvts(take)
  local values = {}
  for index = 0, count - 1 do
    local at, length, pitch = note_at(take, index, start, finish)
    if at then table.move({ at, length, pitch }, 1, 3, #values + 1, values) end
    if #values == 3 * MAX_NOTES then break end
    pause.reading()
  end
  return #values > 0 and { what = "melody", columns = 3, values = values } or nil
end

return curves
