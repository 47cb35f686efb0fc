-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Which region is meant, and which stretch of the timeline.

local function track_of (region)
	for route in Session:get_tracks ():iter () do
		local track = route:to_track ()
		if not track:playlist ():region_by_id (region:to_stateful ():id ()):isnil () then
			return track
		end
	end
end

-- A selected range takes the selection away from regions: then the region below its start on
-- the first selected track that has one, or the one that ends there.
local function below (range, tracks)
	for route in tracks:routelist ():iter () do
		local track = route:to_track ()
		if not track:isnil () then
			for _, at in ipairs ({ range.from, range.from - 1 }) do
				local region = track:playlist ():top_region_at (Temporal.timepos_t (math.max (at, 0)))
				if not region:isnil () then
					return region
				end
			end
		end
	end
end

-- The region, its track, and the range {from, to} in samples, nil where none is selected; or
-- nil, nil and what to do.
return function ()
	local selection = Editor:get_selection ()
	local range = { from = selection.time:start_sample (), to = selection.time:end_sample () }
	if range.from >= range.to then
		range = nil
	end
	local region
	for each in selection.regions:regionlist ():iter () do
		if region then
			return nil, nil, "select one region, not several"
		end
		region = each
	end
	region = region or (range and below (range, selection.tracks))
	if not region or region:to_audioregion ():isnil () then
		return nil, nil, "select an audio region, or a range in one"
	end
	return region, track_of (region), range
end
