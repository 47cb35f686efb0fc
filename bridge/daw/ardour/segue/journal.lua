-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What this session waits for, in its own folder: actions write it, the inbox reads it.
-- They run in separate interpreters, and a session may be closed before its clip is there.

local need = ...
local spool = need ("spool")
local journal = {}

local KINDS = {
	order = { -- whose clip is not there yet
		tags = "ssshdhhhhdsshh",
		"id", "kind", "region", -- the region's name
		"position", "length", -- of the piece that was sent: sample of the timeline, seconds
		"from", "to", -- samples of the timeline where music will be
		"inputs", "outputs", -- of its track
		"fader", -- of its track, as a factor
		"track_id", "region_id", "origin", "last", -- see anchor.lua
	},
	laid = { -- whose clip is there, but not yet saved: see laid.lua
		tags = "sssh",
		"id", "path", "region_id", -- the newest of its regions
		"from",
	},
}

local function path ()
	return ARDOUR.LuaAPI.build_filename (Session:path (), "segue-orders.txt")
end

-- All entries, of the kinds above.
local function entries ()
	local found, file = {}, io.open (path (), "rb")
	if not file then
		return found
	end
	for line in file:lines () do
		local kind, values = spool.parse (line)
		local entry = { line = line, of = kind }
		for i, name in ipairs (KINDS[kind] or {}) do
			entry[name] = values[i]
		end
		found[#found + 1] = entry
	end
	file:close ()
	return found
end

function journal.read (kind)
	local found = {}
	for _, entry in ipairs (entries ()) do
		if entry.of == kind then
			found[#found + 1] = entry
		end
	end
	return found
end

function journal.add (kind, entry)
	local values = {}
	for i, name in ipairs (KINDS[kind]) do
		values[i] = entry[name]
	end
	local file = assert (io.open (path (), "ab"))
	file:write (spool.line (kind, KINDS[kind].tags, table.unpack (values)), "\n")
	file:close ()
end

function journal.remove (kind, id)
	local left = {}
	for _, entry in ipairs (entries ()) do
		if entry.of ~= kind or entry.id ~= id then
			left[#left + 1] = entry.line .. "\n"
		end
	end
	if #left == 0 then
		os.remove (path ())
		return
	end
	local file = assert (io.open (path (), "wb"))
	file:write (table.concat (left))
	file:close ()
end

return journal
