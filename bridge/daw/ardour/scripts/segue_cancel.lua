-- Segue: placed by `segue install`, which replaces it: changes are lost.
ardour {
	["type"] = "EditorAction", name = "Segue: cancel", license = "Apache-2.0", author = "Segue",
	description = [[Stops whatever Segue is making for this session.]]
}

function factory () return function ()
	local home = ARDOUR.LuaAPI.build_filename (ARDOUR.user_config_directory (-1), "segue")
	local code = ARDOUR.LuaAPI.file_get_contents (ARDOUR.LuaAPI.build_filename (home, "start.lua"))
	load (code, "=segue") (home).cancel ()
end end
