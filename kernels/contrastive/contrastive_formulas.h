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
#include "kernels/contrastive/ntxent_formula.h"

DUET_FORMULA_BEGIN

// body(formula) with the formula of a kind that has_relation; margin: circle's. The body's result is the same type for
// all of them.
template <class Body>
auto with_formula(duet_contrastive_kind kind, float margin, Body&& body) {
  switch (kind) {
    case DUET_CONTRASTIVE_KIND_CIRCLE: return body(CircleFormula{margin});
    case DUET_CONTRASTIVE_KIND_NTXENT: return body(NtXentFormula{});
    default: return body(DecoupledFormula{});
  }
}

DUET_FORMULA_END

#endif  // per target
