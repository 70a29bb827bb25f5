// Stands for the file of this name.
#define CUDA_VERSION 13000
