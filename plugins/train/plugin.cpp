#include <string>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/device.h"
#include "trainer.h"

namespace colonnade {

namespace {

Value train(OpContext& context) {
  const TrainOptions options = TrainOptions::from_params(context.params());
  TrainingData data = TrainingData::from_field(context.input("data"), "data", options.length);
  std::optional<TrainingData> valid;
  if (context.has_input("valid")) valid = TrainingData::from_field(context.input("valid"), "valid", options.length);
  if (options.evaluate_every && !valid) throw Error(ErrorKind::usage, "evaluate_every needs the input 'valid'");
  if (options.early_stop && !options.evaluate_every) {
    throw Error(ErrorKind::usage, "early_stop needs evaluate_every and the input 'valid'");
  }
  Model model = Model::from_field(context.input("model")).mutable_copy();
  if (options.precision == Precision::bf16 && computes_on_cpu()) {
    throw Error(ErrorKind::usage, "precision = 'bf16' needs a card (device = 'cuda'); allowed on the CPU: 'f32'");
  }
  if (model.parameters().empty()) throw Error(ErrorKind::input, "nothing of this model is trainable");
  Trainer trainer(std::move(model), std::move(data), std::move(valid), options, context.random());
  if (auto saved = context.load_checkpoint()) trainer.restore(*saved);
  trainer.run(context);
  return trainer.result();
}

void declare_schedule(OpDeclaration& op) {
  op.param(integer("steps", "optimizer steps").range(1, std::nullopt))
      .param(integer("batch", "sequences, or examples, in a batch").range(1, std::nullopt).fall_back(16))
      .param(
          integer("length", "tokens in a sequence; without meaning for examples").range(1, std::nullopt).fall_back(256))
      .param(
          integer("accumulation", "batches whose gradients are averaged in a step").range(1, std::nullopt).fall_back(1))
      .param(boolean("recompute",
                     "keep only what each layer was given and compute the layer again for its gradients: less memory, "
                     "about a quarter more time, the same bits")
                 .fall_back(false))
      .param(real("learning_rate", "highest learning rate").above(0).fall_back(1e-4).searched(Search::log))
      .param(choice("schedule", {"cosine", "constant"}, "what follows the warm-up").fall_back("cosine"))
      .param(real("final_fraction", "learning rate at the end of the cosine, as a share of the highest")
                 .range(0, 1)
                 .fall_back(0.1))
      .param(integer("warmup", "steps of linear warm-up").range(0, std::nullopt).fall_back(0));
}

void declare_optimizer(OpDeclaration& op) {
  op.param(choice("precision", {"f32", "bf16"},
                  "what products are computed in; bf16 on a card only: weights, their gradients and the optimizer stay "
                  "as they are, sums are taken in f32")
               .fall_back("f32"))
      .param(real("beta1", "decay of the gradient's mean").range(0, std::nullopt).below(1).fall_back(0.9))
      .param(real("beta2", "decay of the gradient's square").range(0, std::nullopt).below(1).fall_back(0.999))
      .param(real("epsilon", "added to the root of the square").above(0).fall_back(1e-8))
      .param(real("weight_decay", "decoupled decay of matrices; vectors and adapters have none")
                 .range(0, std::nullopt)
                 .fall_back(0.01))
      .param(real("clip", "largest norm of the whole gradient").above(0).optional())
      .param(real("rescue", "norm to which a tensor's gradient below 1e-7 is rescaled; counted in the summary")
                 .above(0)
                 .optional());
}

void declare_evaluation(OpDeclaration& op) {
  op.param(integer("evaluate_every", "steps between evaluations on 'valid'; by default only after the last")
               .range(1, std::nullopt)
               .optional())
      .param(integer("evaluate_windows", "windows, or examples, of an evaluation, spread evenly")
                 .range(1, std::nullopt)
                 .fall_back(32))
      .param(integer("early_stop", "end after so many evaluations in a row without a better one")
                 .range(1, std::nullopt)
                 .optional())
      .param(integer("log_every", "steps between lines of the log and rows of the curve")
                 .range(1, std::nullopt)
                 .fall_back(50));
}

void register_plugin(Registrar& registrar) {
  OpDeclaration& op = registrar.op("train");
  op.doc(
        "Trains everything of a model that is trainable, with AdamW.\n"
        "Each batch is `batch` windows of `length` + 1 tokens at positions drawn by the step's own random numbers, or "
        "as "
        "many different examples, so that every arm under one seed sees the same batches and a training that was "
        "killed "
        "goes on with the same ones. The loss is the model's own plus the penalties of its adapters and hooks. Source "
        "of "
        "the optimizer: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.")
      .example("local tuned = base:train { data = text.train, valid = text.valid, steps = 600, learning_rate = 1e-3 }")
      .random()
      .input("model", "model", "what is trained")
      .input("data", "any", "the training text (tokens), or examples")
      .optional_input("valid", "any", "the text or the examples of evaluations while training")
      .output("model", "model", "the trained model, adapters attached")
      .output("curve", "table", "losses by step")
      .output("trainable_percent", "scalar", "trainable elements among all")
      .output("summary", "record", "steps, tokens or examples, best evaluation, rescued gradients");
  declare_schedule(op);
  declare_optimizer(op);
  declare_evaluation(op);
  op.work("steps * batch * length * accumulation").any_device().run(train);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
