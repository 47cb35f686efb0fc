-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The track for what Segue makes: directly below the track it was made from, sounding alike.

local ai_track = {}

local LIKE = { "D_VOL", "D_PAN", "D_WIDTH" }

function ai_track.name(track)
  local _, name = reaper.GetSetMediaTrackInfo_String(track, "P_NAME", "", false)
  if name ~= "" then return name end
  return "Track " .. math.floor(reaper.GetMediaTrackInfo_Value(track, "IP_TRACKNUMBER"))
end

--- The last track of a folder closes it; the new one below must lie inside and close it instead.
local function stay_in_folder(track, new)
  local depth = reaper.GetMediaTrackInfo_Value(track, "I_FOLDERDEPTH")
  if depth < 0 then
    reaper.SetMediaTrackInfo_Value(track, "I_FOLDERDEPTH", 0)
    reaper.SetMediaTrackInfo_Value(new, "I_FOLDERDEPTH", depth)
  end
end

--- Pre-fader audio is laid over pre-fader audio, so both need the same fader and effects.
local function sound_alike(track, new)
  for _, name in ipairs(LIKE) do
    reaper.SetMediaTrackInfo_Value(new, name, reaper.GetMediaTrackInfo_Value(track, name))
  end
  for index = 0, reaper.TrackFX_GetCount(track) - 1 do
    reaper.TrackFX_CopyToTrack(track, index, new, index, false)
  end
end

--- The track below, made if it is not there yet. `heard`: its audio has been through the
--- track's fader and effects already.
function ai_track.below(proj, track, heard)
  local name = "AI: " .. ai_track.name(track)
  local below = math.floor(reaper.GetMediaTrackInfo_Value(track, "IP_TRACKNUMBER"))
  local there = reaper.GetTrack(proj, below)
  if there and ai_track.name(there) == name then return there end
  reaper.InsertTrackAtIndex(below, false)
  local new = reaper.GetTrack(proj, below)
  reaper.GetSetMediaTrackInfo_String(new, "P_NAME", name, true)
  stay_in_folder(track, new)
  if not heard then sound_alike(track, new) end
  reaper.TrackList_AdjustWindows(false)
  return new
end

return ai_track
