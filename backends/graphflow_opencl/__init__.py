"""The OpenCL backend: fused kernels on any device that has an OpenCL driver, from PoCL on a CPU to a GPU."""
