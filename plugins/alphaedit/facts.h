// Facts as texts, and what a language model of bytes makes of them.
#pragma once

#include <string>
#include <vector>

#include "colonnade/tensor/model.h"

namespace colonnade::alphaedit {

struct Fact {
  std::string prompt;      // "The capital of France is"
  std::string subject;     // "France"; "": the key is at the prompt's end
  std::string target;      // "Rome", to be written
  std::string old;         // "Paris"; may be missing, like what follows
  std::string paraphrase;  // another prompt with the same answer
  std::string neighbour;   // a prompt whose answer is, and stays, `old`
  std::string negation;    // a prompt whose answer is not `target`
};

/// A file of tab-separated columns with a header line: prompt and target, the others as far as they are there. Throws
/// Error(input) with file and line.
Table read_facts(const std::string& path);
/// Throws Error(input) where columns are missing, a row is empty, or a subject does not stand in its prompt.
std::vector<Fact> facts_from(const Field& table);

/// Prompts with what follows them, as bytes, padded at the end. A space is put between where the prompt ends with none.
struct Prompted {
  Tensor ids;      // [F, L] i64
  Tensor targets;  // [F, L] i64: the next byte where it belongs to the continuation, else not_scored
  Tensor keys;     // [F] i64: position of the subject's last byte, or the prompt's
};
Prompted encode(const std::vector<std::string>& prompts, const std::vector<std::string>& continuations,
                const std::vector<std::string>& subjects);

/// Throws Error(input) if the model does not read bytes.
void require_bytes(const Model& model);

/// Mean over the continuation of -log p, [F]; on the tape if gradients are on.
Tensor nats(const Model& model, const Prompted& text);

/// The prompts continued greedily by `count` bytes each.
std::vector<std::string> continue_greedily(const Model& model, const std::vector<std::string>& prompts,
                                           std::int64_t count);

/// 2/3 H₂ + 4/3 H₃, entropies of pairs and triples of words in bits: low where a text repeats itself.
double fluency_of(const std::string& text);

}  // namespace colonnade::alphaedit
