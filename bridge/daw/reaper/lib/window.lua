-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A small window: fields by arrow keys or mouse, Return makes music, Escape stops or closes.

local use = ...
local form, settings, request, say = use("form"), use("settings"), use("request"), use("say")
local leftover = use("leftover")

local window = {}
window.__index = window

local WIDTH, HEIGHT, LINE, LEFT, VALUES = 460, 382, 22, 12, 230
local CLOSED, ESCAPE, RETURN, SPACE, EDIT = -1, 27, 13, 32, string.byte("e")
local UP, DOWN, TO_LEFT, TO_RIGHT = 30064, 1685026670, 1818584692, 1919379572
local PAPER, INK, MARK = { 0.13, 0.14, 0.16 }, { 0.9, 0.9, 0.9 }, { 0.25, 0.75, 0.7 }
local HELP = "arrows: choose   e: type   Return: make music   Esc: close"
local HELP_BUSY = "Esc: stop"

function window.new()
  gfx.init("Segue", WIDTH, HEIGHT)
  gfx.setfont(1, "Arial", 16) -- REAPER's own knows ASCII alone
  local text = leftover.notice() or ""
  return setmetatable({ wish = settings.load(), at = 1, text = text, pressed = false }, window)
end

local function edit(self)
  local field = form[self.at]
  if not field.enter then return field.change(self.wish, 1) end
  local old = field.label == "Words" and self.wish.text or field.show(self.wish)
  local caption = field.label .. ",extrawidth=200,separator=\n"
  local given, text = reaper.GetUserInputs("Segue", 1, caption, old)
  if given then field.enter(self.wish, text) end
end

local function begin(self)
  if self.request and not self.request:ended() then return end
  settings.save(self.wish)
  self.stop_mark = settings.stop_mark()
  self.request = request.new(self.wish)
end

local function busy(self)
  return self.request ~= nil and not self.request:ended()
end

local KEYS = {
  [UP] = function(self) self.at = (self.at - 2) % #form + 1 end,
  [DOWN] = function(self) self.at = self.at % #form + 1 end,
  [TO_LEFT] = function(self) form[self.at].change(self.wish, -1) end,
  [TO_RIGHT] = function(self) form[self.at].change(self.wish, 1) end,
  [SPACE] = function(self) form[self.at].change(self.wish, 1) end,
  [EDIT] = edit,
  [RETURN] = begin,
}

--- False when the window is to close.
local function key(self, code)
  if code == CLOSED then return false end
  if code == ESCAPE then
    if not busy(self) then return false end
    self.request:cancel()
  elseif KEYS[code] then
    KEYS[code](self)
  end
  return true
end

local function mouse(self)
  local down = gfx.mouse_cap & 1 == 1
  local line = math.floor((gfx.mouse_y - LEFT) / LINE) + 1
  if down and not self.pressed and form[line] then
    self.at = line
    if gfx.mouse_x >= VALUES then edit(self) end
  end
  self.pressed = down
end

local function colour(rgb)
  gfx.set(rgb[1], rgb[2], rgb[3], 1)
end

local function write(x, line, text)
  gfx.x, gfx.y = x, LEFT + (line - 1) * LINE
  gfx.drawstr(text)
end

--- A text, which may be an error with a path in it, as lines that the window has room for.
local function lines_of(text)
  local lines = { "" }
  for piece in text:gmatch("[^ /\\]*[ /\\]?") do
    if gfx.measurestr(lines[#lines] .. piece) > gfx.w - 2 * LEFT then lines[#lines + 1] = "" end
    lines[#lines] = lines[#lines] .. piece
  end
  return lines
end

local function draw(self)
  colour(PAPER)
  gfx.rect(0, 0, gfx.w, gfx.h, true)
  for line, field in ipairs(form) do
    colour(line == self.at and MARK or INK)
    write(LEFT, line, field.label)
    write(VALUES, line, field.show(self.wish))
  end
  colour(MARK)
  local fraction = self.request and self.request.fraction or 0
  gfx.rect(LEFT, LEFT + (#form + 1) * LINE - 6, (gfx.w - 2 * LEFT) * fraction, 3, true)
  colour(INK)
  write(LEFT, #form + 2, busy(self) and HELP_BUSY or HELP)
  for number, text in ipairs(lines_of(self.text)) do write(LEFT, #form + 2 + number, text) end
  gfx.update()
end

--- One turn; false once the window is closed.
function window:step()
  local open = key(self, gfx.getchar())
  mouse(self)
  if busy(self) then
    if settings.stop_mark() ~= self.stop_mark then
      self.stop_mark = settings.stop_mark()
      self.request:cancel()
    end
    self.request:step()
  end
  if self.request then self.text = self.request.text end
  if open then draw(self) end
  return open
end

--- What is to be done when the script ends, however it does.
function window:close()
  settings.save(self.wish)
  if busy(self) then
    self.request:leave()
    say(self.request.text)
  end
  gfx.quit()
end

return window
