// Cheapest open path through all nodes of a complete graph: the order in which a sum of costs between neighbours is
// least. Plain C++, no LibTorch, no threads, no global state.
//
// Costs are a symmetric matrix [d, d], row-major, finite and not negative; the diagonal is not read. An order is a
// permutation of 0..d-1, and `order[k]` is the node in place k. A path has no direction: every solver returns the one
// of the two directions that starts at the smaller end. Equal costs are settled by the smaller index, so that a result
// depends on the costs and the random numbers alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace colonnade::scan {

using Order = std::vector<std::uint32_t>;

/// Random number `counter` of a stream, a function of the counter alone: RandomStream::bits of the SDK, say.
using RandomBits = std::function<std::uint64_t(std::uint64_t counter)>;

/// A view of the costs; whoever made them keeps them alive.
class CostMatrix {
 public:
  /// Throws Error (input) where `costs` is not d * d numbers, or naming the first pair whose cost is not finite, is
  /// negative or differs from its mirror image.
  CostMatrix(std::span<const float> costs, std::size_t d);

  std::size_t size() const { return size_; }
  float operator()(std::size_t from, std::size_t to) const { return costs_[from * size_ + to]; }
  std::span<const float> row(std::size_t node) const { return {costs_ + node * size_, size_}; }

 private:
  const float* costs_;
  std::size_t size_;
};

/// Largest graph for the exact solver: its table grows as d * 2^d.
inline constexpr std::size_t kMaxExactNodes = 16;

enum class PathMethod {
  best,               // exact where d allows it, else all of the below one after another
  nearest_neighbour,  // alone
  annealing,          // from the nearest neighbour's path
  two_opt,            // 2-opt with Or-opt from the nearest neighbour's path
  exact,              // d up to kMaxExactNodes
};

struct PathOptions {
  PathMethod method = PathMethod::best;
  std::size_t neighbours = 10;        // nodes that a move tries to bring next to a node; at least 1
  std::size_t sweeps = 4000;          // annealing: moves proposed, in multiples of d
  std::size_t bound_iterations = 60;  // ascent steps of the lower bound; 0 leaves the minimum spanning tree
};

struct LowerBound {
  double spanning_tree = 0;  // weight of a minimum spanning tree: every path is a spanning tree
  double one_tree = 0;       // after the ascent; at least `spanning_tree`
};

struct PathSolution {
  Order order;
  double cost = 0;
  double cost_before = 0;             // of 0, 1, ..., d-1; `cost` is never above it
  double cost_nearest_neighbour = 0;  // after each stage; a stage that did not run repeats the one before
  double cost_annealing = 0;
  double cost_two_opt = 0;
  LowerBound bound;
  bool exact = false;  // `order` is proven cheapest
};

/// Sum of costs along `order`, in double precision. Throws Error (input) if `order` is no permutation of 0..d-1.
double order_cost(const CostMatrix& costs, std::span<const std::uint32_t> order);

/// The cheapest of the d paths that start somewhere and always go on to the nearest node not visited yet.
Order nearest_neighbour_path(const CostMatrix& costs);

/// Simulated annealing (Kirkpatrick, Gelatt, Vecchi 1983) with moves of 2-opt and Or-opt that join a node to one of its
/// nearest `options.neighbours`, cooling geometrically. Returns the best path seen at the end of a sweep, `start` at
/// worst.
Order annealed_path(const CostMatrix& costs, const Order& start, const RandomBits& random,
                    const PathOptions& options = {});

/// Local search from `start` to a path that no 2-opt move (reverse a stretch) and no Or-opt move (carry up to three
/// nodes elsewhere) between near neighbours makes cheaper, with don't-look bits (Bentley 1992). At worst `start`.
Order two_opt_path(const CostMatrix& costs, const Order& start, const PathOptions& options = {});

/// A cheapest path by dynamic programming over sets (Held and Karp 1962). Throws Error (input) above kMaxExactNodes.
Order exact_path(const CostMatrix& costs);

/// A cost that no path goes below, by subgradient ascent on node weights (Held and Karp 1970) from `upper_bound`, the
/// cost of any path.
LowerBound path_lower_bound(const CostMatrix& costs, double upper_bound, const PathOptions& options = {});

/// The stages of `options.method` with what each brought. Returns 0, 1, ..., d-1 unless something is cheaper.
PathSolution solve_path(const CostMatrix& costs, const RandomBits& random, const PathOptions& options = {});

}  // namespace colonnade::scan
