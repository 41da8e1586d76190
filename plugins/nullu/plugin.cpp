#include "colonnade/colonnade.h"
#include "colonnade/tensor/calibration.h"
#include "colonnade/tensor/editing.h"
#include "ops.h"

namespace colonnade::nullu {

namespace {

constexpr std::int64_t usual_pairs = 64;

void declare_truncate(Registrar& registrar) {
  OpDeclaration& op = registrar.op("truncate");
  op.doc(
        "Reduces weights, or their low-rank parts, to fewer directions.\n"
        "M <- Q Q^T M with Q [m, r] orthonormal: the left singular vectors of the r largest singular values of M (svd; "
        "or by a "
        "random range finder with power steps, Halko, Martinsson and Tropp, 2011), or what r steps of QR with column "
        "pivoting take. With `weights`, the singular vectors of M C^(1/2), C = K K^T of the site's inputs: the least "
        "||(M - M_r) K|| of all matrices of rank r. on = \"low_rank\": M = U V^T, everything else stays. on = "
        "\"effective\": M = S + U V^T (with R where of = \"weights\"); it is stored as factors U V^T while r (m + n) < "
        "m "
        "n, with S zero, else densely in S, and a mask is given up, since truncating fills its zeros: the report says "
        "so. Of a square matrix factors save bytes below half the singular values.")
      .example("local small = base:truncate { on = \"effective\", rank_ratio = 0.25 }")
      .random()
      .input("model", "model", "what is truncated")
      .optional_input("weights", "statistics",
                      "what the sites are given (`covariance`): truncation weighs errors by it")
      .output("model", "model", "with fewer directions")
      .output(
          "report", "table",
          "for each site: ranks, norm of M, error ||M - M_r||, tail (root of the squares of the singular values left "
          "out, of what was decomposed), weighted error, energy kept, numbers held before and after, why it was "
          "skipped")
      .output("error", "scalar", "||M - M_r|| / ||M|| over all chosen sites")
      .output("nominal", "scalar", "numbers held by the chosen sites: nnz(S) + r (m + n)")
      .param(choice("on", {"low_rank", "effective"}, "M").fall_back("low_rank"))
      .param(integer("rank", "directions to keep").range(1, std::nullopt).optional())
      .param(real("rank_ratio", "share of the singular values to keep").range(std::nullopt, 1).above(0).optional())
      .param(real("energy", "keep the fewest directions with this share of the squares")
                 .range(std::nullopt, 1)
                 .above(0)
                 .optional())
      .param(choice("method", {"auto", "svd", "randomised", "qr"},
                    "how directions are found; auto: randomised at up to 5 % of min(m, n), else svd")
                 .fall_back("auto"))
      .param(of_param())
      .param(
          sites("sites",
                "what is truncated; by default every site with U V^T, or for the effective weight kind:linear, those "
                "with a reference if there are any")
              .optional())
      .run(truncate);
}

void declare_contrasts(Registrar& registrar) {
  registrar.op("contrasts")
      .doc(
          "Collects what sites give differently for matched pairs, one side right, one wrong.\n"
          "E = (H_true - H_false) / 2 [pairs, D], a row a pair, H a site's own output (or input), averaged over all "
          "positions of a sample or taken at the last. For pictures with captions a pair is one picture with a right "
          "and a wrong caption. Source: Yang et al., Nullu: Mitigating Object Hallucinations in Large Vision-Language "
          "Models via HalluSpace Projection, 2025.")
      .example("local pairs = base:contrasts { truthful = data.right, misleading = data.wrong }")
      .input("model", "model", "whose activations")
      .input("truthful", "any", "a text or examples")
      .input("misleading", "any", "as many, in the same order")
      .output("contrasts", "nullu/contrasts", "E by site, for `project`")
      .output("spectrum", "table", "singular values of E by site")
      .param(sites("sites", "where; by default *.out_proj,*.fc2, as far as the model has them").optional())
      .param(choice("side", {"output", "input"}, "what a site gives, or is given").fall_back("output"))
      .param(choice("positions", {"mean", "last"}, "which positions of a sample").fall_back("mean"))
      .param(samples_param(usual_pairs))
      .param(length_param())
      .run(contrasts);
}

void declare_project(Registrar& registrar) {
  registrar.op("project")
      .doc(
          "Removes from weights the directions in which matched pairs differ.\n"
          "V_k: the top right singular vectors of E (E (I - centring v v^T) with v the top right singular vector of "
          "H_true), k by `rank` or the fewest with `energy` of the spectrum; P = V_k V_k^T. Output side: W <- (I - P) "
          "W "
          "and b <- (I - P) b, so that nothing the site gives has a part in the subspace. Input side: W <- W (I - P). "
          "W is all of R + S + U V^T; the change is appended to U V^T at rank k, so zeros of a mask stay, and nothing "
          "gets smaller. Where U V^T would grow as large as the weight, the change goes to S under the mask, with its "
          "loss in the report. A site that gives the same for both sides of every pair is left as it is and named in "
          "the report. Source: as for `contrasts`.")
      .example("local honest = base:project { contrasts = pairs, rank = 4 }")
      .input("model", "model", "what is changed")
      .input("contrasts", "nullu/contrasts", "of `contrasts`; its sites are what is changed")
      .output("model", "model", "without the subspace")
      .output("report", "table",
              "for each site: k, no more than the rank of E, share of the spectrum, norm of the weight inside the "
              "subspace, "
              "share of it that is left, why it was skipped")
      .param(integer("rank", "k; by default by energy").range(1, std::nullopt).optional().searched(Search::linear))
      .param(real("energy", "share of the spectrum that k reaches").range(std::nullopt, 1).above(0).fall_back(0.95))
      .param(choice("spectrum", {"squares", "values"}, "energy sums squared singular values, or the values")
                 .fall_back("squares"))
      .param(real("centring", "share of v v^T that is taken out of E first").range(0, 1).fall_back(0.0))
      .run(project);
}

void register_plugin(Registrar& registrar) {
  declare_truncate(registrar);
  declare_contrasts(registrar);
  declare_project(registrar);
}

}  // namespace

}  // namespace colonnade::nullu

COLONNADE_PLUGIN(colonnade::nullu::register_plugin);
