#pragma once

// Everything a plugin without tensors needs.
#include "colonnade/plugin.h"
#include "colonnade/tokens.h"
#include "colonnade/value.h"
