// The losses on a relation of pairs, for both backends: a new one is its formula file and a line here.
#if defined(DUET_CONTRASTIVE_FORMULAS_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CONTRASTIVE_FORMULAS_H
#undef DUET_CONTRASTIVE_FORMULAS_H
#else
#define DUET_CONTRASTIVE_FORMULAS_H
#endif

#include "kernels/contrastive/circle_formula.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/decoupled_formula.h"
#include "kernels/contrastive/infonce_formula.h"
#include "kernels/contrastive/ntxent_formula.h"

DUET_FORMULA_BEGIN

// body(formula) with the formula of a kind; margin: circle's. The body's result is the same type for all of them. The
// sigmoid loss has none.
template <class Body>
auto with_formula(duet_contrastive_kind kind, float margin, Body&& body) {
  switch (kind) {
    case DUET_CONTRASTIVE_KIND_CIRCLE: return body(CircleFormula{margin});
    case DUET_CONTRASTIVE_KIND_NTXENT: return body(NtXentFormula{});
    case DUET_CONTRASTIVE_KIND_DECOUPLED: return body(DecoupledFormula{});
    default: return body(InfoNceFormula{});
  }
}

DUET_FORMULA_END

#endif  // per target
