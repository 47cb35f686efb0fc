"""What a producer can ask of a clip, one differentiable loss a file."""
