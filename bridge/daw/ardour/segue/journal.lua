-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The open orders of this session, in its own folder: actions write it, the inbox reads it.
-- They run in separate interpreters, and a session may be closed before its clip is there.

local need = ...
local spool = need ("spool")
local journal = {}

local TAGS = "ssshdhhhhdsshh"
local NAMES = {
	"id", "kind", "region", -- the region's name
	"position", "length", -- of the piece that was sent: sample of the timeline, seconds
	"from", "to", -- samples of the timeline where music will be
	"inputs", "outputs", -- of its track
	"fader", -- of its track, as a factor
	"track_id", "region_id", "origin", "last", -- see anchor.lua
}

local function path ()
	return ARDOUR.LuaAPI.build_filename (Session:path (), "segue-orders.txt")
end

function journal.read ()
	local orders, file = {}, io.open (path (), "rb")
	if not file then
		return orders
	end
	for line in file:lines () do
		local _, values = spool.parse (line)
		local order = { line = line }
		for i, name in ipairs (NAMES) do
			order[name] = values[i]
		end
		orders[#orders + 1] = order
	end
	file:close ()
	return orders
end

local function line (order)
	local values = {}
	for i, name in ipairs (NAMES) do
		values[i] = order[name]
	end
	return spool.line ("order", TAGS, table.unpack (values)) .. "\n"
end

function journal.add (order)
	local file = assert (io.open (path (), "ab"))
	file:write (line (order))
	file:close ()
end

function journal.remove (id)
	local left = {}
	for _, order in ipairs (journal.read ()) do
		if order.id ~= id then
			left[#left + 1] = order.line .. "\n"
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
