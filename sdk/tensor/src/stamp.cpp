// The stamp of this library, in the format of plugins' stamps: the host reads from it, without loading anything, which
// LibTorch this Colonnade was built with.
#include "colonnade/version.h"

#define COLONNADE_PLUGIN_NAME "tensor"
#define COLONNADE_PLUGIN_VERSION COLONNADE_VERSION
#define COLONNADE_PLUGIN_TORCH COLONNADE_TORCH_VERSION
#define COLONNADE_PLUGIN_REQUIRES ""
#define COLONNADE_PLUGIN_EXTENDS ""
#include "colonnade/plugin.h"

extern "C" {
extern const char colonnade_tensor_stamp_text[];
__attribute__((section("colonnade_stamp"), used, retain)) const char colonnade_tensor_stamp_text[] =
    COLONNADE_STAMP_TEXT;
}
