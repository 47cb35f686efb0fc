-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A request's project and track, found again later. REAPER uses a tab's pointer again when another
-- file is opened in it, and maybe a track's: that it is the same one only its GUID can say.

local project = {}

--- What is known of the project in front and of a track in it.
function project.mark(track)
  local proj, file = reaper.EnumProjects(-1)
  return { proj = proj, file = file, track = reaper.GetTrackGUID(track) }
end

--- The file of what is open as this project, and whether it is in front; nil where nothing is.
local function open_file(proj)
  local front, file = reaper.EnumProjects(-1)
  if front == proj then return file, true end
  local index = 0
  local each, its = reaper.EnumProjects(index)
  while each do
    if each == proj then return its, false end
    index = index + 1
    each, its = reaper.EnumProjects(index)
  end
end

local function track_of(proj, id)
  for index = 0, reaper.CountTracks(proj) - 1 do
    local track = reaper.GetTrack(proj, index)
    if reaper.GetTrackGUID(track) == id then return track end
  end
end

--- The track and whether its project is in front; else nil, nil and what has happened.
function project.find(mark)
  local file, in_front = open_file(mark.proj)
  if not file then return nil, nil, "the project was closed" end
  local track = track_of(mark.proj, mark.track)
  if track then return track, in_front end
  return nil, nil, file == mark.file and "the track was removed" or "the project was closed"
end

return project
