-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Files between these scripts and `segue spool`; bridge/daw/spool.py is the other side.
-- A line is an address, type tags and arguments, parted by tabs.

local spool = {}

local PATIENCE_SECONDS = 5

local pinged = {} -- id: when

local escapes = { ["\\"] = "\\\\", ["\t"] = "\\t", ["\n"] = "\\n", ["\r"] = "\\r" }
local characters = { ["\\\\"] = "\\", ["\\t"] = "\t", ["\\n"] = "\n", ["\\r"] = "\r" }

local function folder ()
	local home = os.getenv ("HOME") or os.getenv ("USERPROFILE") or ""
	return os.getenv ("SEGUE_SPOOL") or ARDOUR.LuaAPI.build_filename (home, ".segue", "spool")
end

local function path (name)
	return ARDOUR.LuaAPI.build_filename (folder (), name)
end
spool.path = path

local function field (tag, value)
	if tag == "s" then
		return (value:gsub ("[\\\t\n\r]", escapes))
	elseif tag == "d" then
		return (string.format ("%.17g", value):gsub (",", ".")) -- some locales write a comma
	end
	return string.format ("%d", math.floor (value))
end

function spool.line (address, tags, ...)
	local fields = { address, tags }
	for i = 1, #tags do
		fields[i + 2] = field (tags:sub (i, i), (select (i, ...)))
	end
	return table.concat (fields, "\t")
end

-- The address and the arguments of a line.
function spool.parse (line)
	local fields = {}
	for each in (line .. "\t"):gmatch ("([^\t]*)\t") do
		fields[#fields + 1] = each
	end
	local tags, arguments = fields[2] or "", {}
	for i = 1, #tags do
		local text = fields[i + 2] or ""
		if tags:sub (i, i) == "s" then
			arguments[i] = text:gsub ("\\[\\tnr]", characters)
		else
			arguments[i] = tonumber (text)
		end
	end
	return fields[1], arguments
end

function spool.create (name)
	local file = io.open (path (name), "wb")
	if not file then
		error ("start `segue up`: nothing can be written to " .. folder (), 0)
	end
	return file
end

-- Whole or not at all: it is read while we write.
function spool.write (name, lines)
	local file = spool.create (name .. ".part")
	assert (file:write (table.concat (lines, "\n"), "\n"))
	assert (file:close ())
	assert (os.rename (path (name .. ".part"), path (name)))
end

-- All complete lines, or none where there is no such file.
function spool.read (name)
	local lines, file = {}, io.open (path (name), "rb")
	if file then
		for line in file:read ("a"):gmatch ("([^\n]*)\n") do
			lines[#lines + 1] = line
		end
		file:close ()
	end
	return lines
end

local function exists (name)
	local file = io.open (path (name), "rb")
	if file then
		file:close ()
	end
	return file ~= nil
end

-- Whether an order is still there: Segue's side lets go of one that is more than a day old.
function spool.holds (id)
	return exists (id .. ".order")
end

-- Whether somebody looks after an order: the other side takes each `.ping` away at once.
function spool.attended (id)
	local name, now = id .. ".ping", os.time ()
	if exists (name) then
		pinged[id] = pinged[id] or now
		return now - pinged[id] < PATIENCE_SECONDS
	elseif now - (pinged[id] or 0) >= PATIENCE_SECONDS then
		local file = io.open (path (name), "wb")
		if not file then
			return false
		end
		file:close ()
		pinged[id] = now
	end
	return true
end

function spool.remove (id)
	for _, ending in ipairs ({ ".order", ".answers", ".wav", ".ping" }) do
		os.remove (path (id .. ending))
	end
end

return spool
