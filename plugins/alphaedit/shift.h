// What a site would have to give for facts to come out.
#pragma once

#include "facts.h"

namespace colonnade::alphaedit {

struct ShiftOptions {
  std::int64_t steps = 25;
  double step_size = 0.1;      // of Adam, in units of the root mean square of what the site gives
  double divergence = 0.0625;  // weight of KL between the subject's next bytes before and after
  double decay = 0.5;          // weight of ‖δ‖²/‖z‖²
  double clamp = 0.75;         // ‖δ‖ <= clamp ‖z‖
  double stop = 0.05;          // a fact at so few nats is left as it is
};

struct Shift {
  Tensor delta;      // [F, m]: what to add at the key's position
  Tensor keys;       // [n, F] f64: what the site is given there
  Tensor before;     // [F] nats of the target
  Tensor after;      // ... with δ added
  std::string note;  // why it does not help, "" where it does
};

/// δ by Adam on -log p(target) + divergence + decay. The model's adapters at the site have been folded.
Shift find_shift(const Model& model, const std::string& site, const std::vector<Fact>& facts,
                 const ShiftOptions& options);

/// What the site is given at the facts' positions, [n, F] f64.
Tensor keys_at(const Model& model, const std::string& site, const std::vector<Fact>& facts);

}  // namespace colonnade::alphaedit
