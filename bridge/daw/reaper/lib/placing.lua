-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A finished clip's way into the project: one undo step, the original left as it is.

local use = ...
local ai_track, region, source = use("ai_track"), use("region"), use("source")

local placing = {}

local EVERYTHING = -1 -- undo flags
local SAME_PLACE = 0.25 -- seconds; each try has a fade of its own

--- A whole sample's time where rounding alone keeps it from one, so that the clip's samples
--- meet the original's; an item between samples keeps its own offset.
local function exact(time, rate)
  local nearest = math.floor(time * rate + 0.5)
  return math.abs(time * rate - nearest) < 0.01 and nearest / rate or time
end

local function add_take(item, clip, name)
  local take = reaper.AddTakeToMediaItem(item)
  reaper.SetMediaItemTake_Source(take, clip.source)
  reaper.GetSetMediaItemTakeInfo_String(take, "P_NAME", name, true)
  return take
end

local function new_item(track, start, length)
  local item = reaper.AddMediaItemToTrack(track)
  for name, value in pairs({
    D_POSITION = start, D_LENGTH = length, B_LOOPSRC = 0, D_FADEINLEN = 0, D_FADEOUTLEN = 0,
  }) do
    reaper.SetMediaItemInfo_Value(item, name, value)
  end
  return item
end

--- Let an item reach from `position` to `finish` at least; what its takes play stays where it is.
local function make_room(item, position, finish)
  local start, last = region.bounds(item)
  local earlier = math.max(start - position, 0)
  for index = 0, reaper.CountTakes(item) - 1 do
    local take = reaper.GetTake(item, index)
    local offset = reaper.GetMediaItemTakeInfo_Value(take, "D_STARTOFFS")
    local played = earlier * reaper.GetMediaItemTakeInfo_Value(take, "D_PLAYRATE")
    reaper.SetMediaItemTakeInfo_Value(take, "D_STARTOFFS", offset - played)
  end
  reaper.SetMediaItemInfo_Value(item, "D_POSITION", start - earlier)
  reaper.SetMediaItemInfo_Value(item, "D_LENGTH", math.max(last, finish) - (start - earlier))
end

local function is_as_made(item)
  local fade_in, fade_out = source.fades(item)
  return source.is_plain(item) and fade_in == 0 and fade_out == 0
end

--- The item of an earlier try at this place: both at once are not to be heard. One that was muted,
--- faded or made louder or softer since would do so to the new clip as well.
local function earlier_item(track, position)
  for index = 0, reaper.CountTrackMediaItems(track) - 1 do
    local item = reaper.GetTrackMediaItem(track, index)
    local here = math.abs(region.bounds(item) - position) < SAME_PLACE
    if here and is_as_made(item) then return item end
  end
end

local function item_on(track, position, length)
  local start = math.max(position, 0)
  local item = earlier_item(track, start)
  if not item then return new_item(track, start, length + math.min(position, 0)) end
  make_room(item, start, position + length)
  return item
end

--- The item that a clip replaces, if the take it was made from is still there; the clip follows
--- that take where the item was moved, cut or trimmed meanwhile.
local function replaced_item(plan)
  local audio, first = plan.audio, plan.clips[1]
  if not audio.take or first.overlay then return nil end
  local take = reaper.GetMediaItemTakeByGUID(plan.proj, audio.take)
  if not take then return nil end
  local offset = reaper.GetMediaItemTakeInfo_Value(take, "D_STARTOFFS")
  return reaper.GetMediaItemTake_Item(take), offset - first.start
end

--- The item for the clips, where in them it begins, and how loud they are in it.
local function target(plan)
  local item, skipped = replaced_item(plan)
  if item then return item, skipped, 1 end
  local audio, first = plan.audio, plan.clips[1]
  local track = ai_track.beside(plan.proj, plan.track, audio.heard)
  local position = exact(audio.start + first.start - audio.start_seconds, audio.rate)
  local length = reaper.GetMediaSourceLength(first.source)
  item = item_on(track, position, length)
  return item, region.bounds(item) - position, audio.level
end

local function lay(plan)
  local item, skipped, level = target(plan)
  for number, clip in ipairs(plan.clips) do
    local name = #plan.clips > 1 and ("%s (%d)"):format(plan.title, number) or plan.title
    local take = add_take(item, clip, name)
    reaper.SetMediaItemTakeInfo_Value(take, "D_STARTOFFS", skipped)
    reaper.SetMediaItemTakeInfo_Value(take, "D_VOL", level)
    if number == 1 then reaper.SetActiveTake(take) end
  end
end

local function open_sources(clips)
  for _, clip in ipairs(clips) do
    clip.source = reaper.PCM_Source_CreateFromFile(clip.path)
    if not clip.source then return nil, "REAPER cannot read the clip" end
  end
  return true
end

--- plan: proj, track, audio, title and clips ({path, start, overlay}, the best one first).
--- True, or nil and what happened instead.
function placing.place(plan)
  local opened, problem = open_sources(plan.clips)
  if not opened then return nil, problem end
  reaper.Undo_BeginBlock2(plan.proj)
  reaper.PreventUIRefresh(1)
  local laid, trouble = pcall(lay, plan)
  reaper.PreventUIRefresh(-1)
  reaper.Undo_EndBlock2(plan.proj, "Segue: " .. plan.title, EVERYTHING)
  reaper.UpdateArrange()
  return laid or nil, trouble
end

--- Build the clips' waveform pictures, a little at every turn. True when all are there.
function placing.build_peaks(proj, clips)
  for _, clip in ipairs(clips) do
    if not reaper.ValidatePtr2(proj, clip.source, "PCM_source*") then
      clip.peaks = true -- removed already
    elseif clip.peaks == nil then
      clip.peaks = reaper.PCM_Source_BuildPeaks(clip.source, 0) == 0
    elseif not clip.peaks and reaper.PCM_Source_BuildPeaks(clip.source, 1) == 0 then
      reaper.PCM_Source_BuildPeaks(clip.source, 2)
      clip.peaks = true
    end
    if not clip.peaks then return false end
  end
  return true
end

return placing
