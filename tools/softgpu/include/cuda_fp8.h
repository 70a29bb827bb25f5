// Stands for the file of this name.
#pragma once
#include "cuda_fp16.h"
