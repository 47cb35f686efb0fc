"""The maths: distilled diffusion and inference-time optimization of its starting noise."""
