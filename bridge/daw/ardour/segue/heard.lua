-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What is heard of a track before its fader, as a file: fades, gains, envelopes and layers of
-- its regions included. An overlay that is made for it then fits to the last sample.

local need = ...
local spool = need ("spool")

local BLOCK_FRAMES = 8192
local FLOAT, BYTES = 3, 4 -- of a sample, as WAV says it

local function header (channels, rate, frames)
	local size = frames * channels * BYTES
	return string.pack ("<c4I4c4c4I4I2I2I4I4I2I2c4I4", "RIFF", 36 + size, "WAVE", "fmt ", 16,
		FLOAT, channels, rate, rate * channels * BYTES, channels * BYTES, 8 * BYTES, "data", size)
end

local function memory ()
	local block = ARDOUR.DSP.DspShm (BLOCK_FRAMES)
	block:allocate (BLOCK_FRAMES)
	return block
end

-- Writes samples (from, to) of the timeline into the spool; returns the file's path.
return function (name, track, channels, from, to)
	local playlist = track:playlist ():to_audioplaylist ()
	local sound, mix, gain = memory (), memory (), memory ()
	local file = spool.create (name)
	file:write (header (channels, Session:nominal_sample_rate (), to - from))
	for at = from, to - 1, BLOCK_FRAMES do
		local count, block = math.min (BLOCK_FRAMES, to - at), {}
		for channel = 1, channels do
			playlist:read (sound:to_float (0), mix:to_float (0), gain:to_float (0),
				Temporal.timepos_t (at), Temporal.timecnt_t (count), channel - 1)
			for i, sample in ipairs (sound:to_float (0):get_table (count)) do
				block[(i - 1) * channels + channel] = sample
			end
		end
		assert (file:write (string.pack ("<" .. ("f"):rep (#block), table.unpack (block))))
	end
	assert (file:close ())
	return spool.path (name)
end
