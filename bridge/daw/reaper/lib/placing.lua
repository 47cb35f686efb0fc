-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A finished clip's way into the project: one undo step, the original left as it is.

local use = ...
local ai_track = use("ai_track")

local placing = {}

local EVERYTHING = -1 -- undo flags

--- Whether the project is open ("open"), in front of it all ("current"), or nil.
function placing.project_state(proj)
  if reaper.EnumProjects(-1) == proj then return "current" end
  local index = 0
  local each = reaper.EnumProjects(index)
  while each do
    if each == proj then return "open" end
    index = index + 1
    each = reaper.EnumProjects(index)
  end
end

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

local function new_item(track, position, length)
  local item = reaper.AddMediaItemToTrack(track)
  for name, value in pairs({
    D_POSITION = math.max(position, 0), D_LENGTH = length + math.min(position, 0), B_LOOPSRC = 0,
    D_FADEINLEN = 0, D_FADEOUTLEN = 0,
  }) do
    reaper.SetMediaItemInfo_Value(item, name, value)
  end
  return item
end

local function target(plan)
  local item = plan.audio.item
  local first = plan.clips[1]
  if item and not first.overlay and reaper.ValidatePtr2(plan.proj, item, "MediaItem*") then
    return item, 0
  end
  local track = ai_track.below(plan.proj, plan.track, plan.audio.heard)
  local offset = first.start - plan.audio.start_seconds
  local position = exact(plan.audio.start + offset, plan.audio.rate)
  local length = reaper.GetMediaSourceLength(first.source)
  return new_item(track, position, length), math.max(-position, 0)
end

local function lay(plan)
  local item, skipped = target(plan)
  for number, clip in ipairs(plan.clips) do
    local name = #plan.clips > 1 and ("%s (%d)"):format(plan.title, number) or plan.title
    local take = add_take(item, clip, name)
    reaper.SetMediaItemTakeInfo_Value(take, "D_STARTOFFS", skipped)
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
  if not reaper.ValidatePtr2(plan.proj, plan.track, "MediaTrack*") then
    return nil, "the track is gone"
  end
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
function placing.build_peaks(clips)
  for _, clip in ipairs(clips) do
    if clip.peaks == nil then
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
