/**
 * How well a model does, on the page: its measures on the test and on the validation split side by side, and of a few
 * classes how often each was taken for each. A job shows them, and so does a version of a model.
 */
import { count, loss, percent } from './format.js'
import { h } from './views.js'

/** More classes than these are for `tensorfleet evaluate` and the report. */
const CLASSES_SHOWN_MAX = 20

const MEASURES = [
  ['accuracy', 'Accuracy', percent],
  ['loss', 'Loss', loss],
  ['top2', 'Among the top 2', percent],
  ['top3', 'Among the top 3', percent],
  ['top5', 'Among the top 5', percent],
  ['top10', 'Among the top 10', percent],
  ['precision', 'Precision', percent],
  ['recall', 'Recall', percent],
  ['f1', 'F1', percent],
  ['auc', 'AUC', (value) => value.toFixed(4)],
  ['mae', 'Mean absolute error', loss],
  ['rmse', 'Root mean square error', loss],
  ['r2', 'R²', (value) => value.toFixed(4)],
]

/** Nothing to see as long as nothing was measured. */
export function resultsOf({ evaluation: test, validation }) {
  const splits = [
    ['Test', test],
    ['Validation', validation],
  ].filter(([, evaluation]) => evaluation !== undefined)
  const part = h('div', { class: 'measured' })
  if (splits.length === 0) return part
  const [name, first] = splits[0]
  part.append(measuresTable(splits), ...confusionTable(name, first))
  return part
}

function measuresTable(splits) {
  const head = h('tr', {}, h('th', { scope: 'col' }, 'Measured on'), ...splits.map(([name, { examples }]) => h('th', { scope: 'col', class: 'number' }, `${name}, ${count(examples)} examples`))) // prettier-ignore
  const known = MEASURES.filter(([key]) => splits.some(([, evaluation]) => evaluation[key] !== undefined))
  const rows = known.map(
    ([key, title, text]) =>
    h('tr', {}, h('th', { scope: 'row' }, title), ...splits.map(([, { [key]: value }]) => h('td', { class: 'number' }, value === undefined ? '–' : text(value)))), // prettier-ignore
  )
  return h('table', { class: 'measures' }, h('caption', { class: 'hidden' }, 'How well the model does'), h('thead', {}, head), h('tbody', {}, ...rows)) // prettier-ignore
}

/** Rows are what examples are, columns what they were taken for; the shade is the share of the row. */
function confusionTable(split, { confusion, byClass }) {
  if (confusion === undefined || confusion.length > CLASSES_SHOWN_MAX) return []
  const names = confusion.map((_, code) => byClass?.[code]?.name ?? String(code))
  const head = h('tr', {}, h('td', {}, 'is ↓  taken for →'), ...names.map((name) => h('th', { scope: 'col' }, name)))
  const rows = confusion.map((line, actual) => {
    const all = line.reduce((sum, each) => sum + each, 0)
    const cells = line.map((times, predicted) => {
      const shade = all === 0 ? 0 : Math.ceil((times / all) * 5)
      const title = `${names[actual]} taken for ${names[predicted]}: ${count(times)} of ${count(all)}`
      return h('td', { class: `${predicted === actual ? 'right' : 'wrong'} shade-${shade}`, title }, count(times))
    })
    return h('tr', {}, h('th', { scope: 'row' }, names[actual]), ...cells)
  })
  const caption = h('caption', {}, `Confusion on the ${split.toLowerCase()} examples`)
  return [h('div', { class: 'table' }, h('table', { class: 'confusion' }, caption, h('thead', {}, head), h('tbody', {}, ...rows)))] // prettier-ignore
}
