-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The port of this machine on which Segue's bridge listens: while it runs, a file says which.

local USUAL = 9137
local MAX_BYTES = 4096 -- of the file

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read(MAX_BYTES)
  file:close()
  return text
end

--- Where the bridge's runtime folder may be on any system; Lua cannot ask which one this is.
local function paths()
  local user = (read("/proc/self/status") or ""):match("\nUid:%s*(%d+)")
  local found = {}
  local function add(base, rest)
    if base and base ~= "" then found[#found + 1] = base .. rest .. "/segue/bridge.json" end
  end
  add(os.getenv("XDG_RUNTIME_DIR"), "")
  add(user and "/run/user/" .. user, "") -- where REAPER was started from no session
  add(os.getenv("LOCALAPPDATA"), "/Temp")
  add(os.getenv("HOME"), "/Library/Caches/TemporaryItems")
  return found
end

return function()
  for _, path in ipairs(paths()) do
    local port = tonumber((read(path) or ""):match('"osc_port"%s*:%s*(%d+)'))
    if port and port > 0 and port < 65536 then return port end
  end
  return USUAL
end
