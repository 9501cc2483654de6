/**
 * A line chart of one measure over the steps of a job. Points of all replicas are averaged into at most `COLUMNS_MAX`
 * columns, drawn faintly, with their moving average as the line that one reads. Drawn as SVG in the pixels of its place,
 * so that its words have the size of all others; a redraw of some hundred points costs less than a frame.
 */

const COLUMNS_MAX = 320
const HEIGHT = 214
const MARGIN = { top: 14, right: 14, bottom: 26, left: 44 }

/** Columns of `{step, value, smooth}` in the order of steps. */
export function columnsOf(points, stepsTotal) {
  const width = Math.max(1, stepsTotal / COLUMNS_MAX)
  const sums = new Map()
  for (const { step, value } of points) {
    const column = Math.floor(step / width)
    const sum = sums.get(column) ?? { steps: 0, values: 0, count: 0 }
    sum.steps += step
    sum.values += value
    sum.count++
    sums.set(column, sum)
  }
  const columns = [...sums]
    .sort(([a], [b]) => a - b)
    .map(([, { steps, values, count }]) => ({ step: steps / count, value: values / count }))
  // A window around each column, wider for a longer job. It narrows toward the start, where the slope is, and loses its
  // right half toward the end, which would otherwise jump with every point.
  const reach = Math.min(8, Math.floor(columns.length / 16))
  return columns.map(({ step, value }, i) => {
    const window = columns.slice(i - Math.min(reach, i), i + Math.min(reach, i) + 1)
    return { step, value, smooth: window.reduce((sum, each) => sum + each.value, 0) / window.length }
  })
}

/** Where a scale begins and ends: at the extremes, unless few wild values would flatten all others. */
export function rangeOf(values) {
  if (values.length === 0) return { low: 0, high: 1 }
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share) => sorted[Math.round((sorted.length - 1) * share)]
  const [low, high] = [at(0.02), at(0.98)]
  const reach = 2 * (high - low)
  return { low: Math.max(at(0), low - reach), high: Math.min(at(1), high + reach) }
}

/** At most `count` + 1 round numbers that span from `low` to `high`. */
export function ticksOf(low, high, count) {
  const span = high - low || 1
  const power = 10 ** Math.floor(Math.log10(span / count))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => span / each <= count) ?? span
  const ticks = []
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    ticks.push(Number((i * step).toPrecision(12)))
  return ticks
}

export class LineChart {
  #element
  #svg
  #grid
  #faint
  #line
  #area
  #cursor
  #readout
  #options
  #columns = []
  #stepsTotal = 1
  #scale = null
  #focus = null
  #width = 400
  #points = []

  /** `format` writes a value; `floor` and `ceiling` bound the axis where the measure has bounds. */
  constructor(options) {
    this.#options = options
    this.#svg = svg('svg', { height: HEIGHT, class: 'chart', role: 'img', tabindex: '0' })
    this.#grid = svg('g', { class: 'grid' })
    this.#area = svg('path', { class: 'area' })
    this.#faint = svg('path', { class: 'faint' })
    this.#line = svg('path', { class: 'line' })
    this.#cursor = svg('g', { class: 'cursor' })
    this.#svg.append(this.#grid, this.#area, this.#faint, this.#line, this.#cursor)
    this.#readout = document.createElement('output')
    const caption = document.createElement('figcaption')
    const title = document.createElement('span')
    title.textContent = options.title
    caption.append(title, this.#readout)
    this.#element = document.createElement('figure')
    this.#element.className = `plot ${options.kind}`
    this.#element.append(caption, this.#svg)
    new ResizeObserver(([entry]) => this.#resize(entry.contentRect.width)).observe(this.#svg)
    this.#svg.addEventListener('pointermove', (event) => this.#point(event))
    this.#svg.addEventListener('pointerleave', () => this.#look(null))
    this.#svg.addEventListener('blur', () => this.#look(null))
    this.#svg.addEventListener('keydown', (event) => this.#key(event))
  }

  get element() {
    return this.#element
  }

  /** Points are `{step, value}`, in any order. */
  draw(points, stepsTotal) {
    this.#points = points
    this.#columns = columnsOf(points, stepsTotal)
    this.#stepsTotal = Math.max(1, stepsTotal)
    this.#scale = this.#scaleOf()
    this.#drawGrid()
    this.#drawLines()
    this.#look(this.#focus !== null && this.#focus < this.#columns.length ? this.#focus : null)
  }

  #resize(width) {
    if (width === 0 || Math.abs(width - this.#width) < 1) return
    this.#width = width
    this.draw(this.#points, this.#stepsTotal)
  }

  #scaleOf() {
    const { floor, ceiling } = this.#options
    const { low: bottom, high: top } = rangeOf(this.#columns.flatMap(({ value, smooth }) => [value, smooth]))
    const pad = (top - bottom || Math.abs(top) || 1) * 0.08
    const low = floor === undefined ? bottom - pad : Math.max(floor, bottom - pad)
    const high = ceiling === undefined ? top + pad : Math.min(ceiling, top + pad)
    const plotWidth = this.#width - MARGIN.left - MARGIN.right
    const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom
    return {
      low,
      high: high > low ? high : low + 1,
      x: (step) => MARGIN.left + (step / this.#stepsTotal) * plotWidth,
      y: (value) => {
        const share = (value - low) / ((high > low ? high : low + 1) - low)
        return MARGIN.top + (1 - Math.min(1.02, Math.max(0, share))) * plotHeight
      },
    }
  }

  #drawGrid() {
    const { low, high, x, y } = this.#scale
    if (this.#columns.length === 0) {
      const middle = { x: this.#width / 2, y: HEIGHT / 2, 'text-anchor': 'middle' }
      this.#grid.replaceChildren(text('Nothing yet: it begins with the first round', middle))
      return
    }
    const rows = ticksOf(low, high, 4).flatMap((tick) => [
      svg('line', { x1: MARGIN.left, x2: this.#width - MARGIN.right, y1: y(tick), y2: y(tick) }),
      text(this.#options.tick(tick), { x: MARGIN.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }),
    ])
    const steps = ticksOf(0, this.#stepsTotal, this.#width < 340 ? 4 : 6).map((tick) =>
      text(tick.toLocaleString('en'), {
        x: x(tick),
        y: HEIGHT - 8,
        'text-anchor': tick === 0 ? 'start' : tick > this.#stepsTotal * 0.96 ? 'end' : 'middle',
      }),
    )
    this.#grid.replaceChildren(...rows, ...steps)
  }

  #drawLines() {
    const { x, y } = this.#scale
    const path = (key) =>
      this.#columns.map((each, i) => `${i === 0 ? 'M' : 'L'}${r(x(each.step))} ${r(y(each[key]))}`).join('')
    const [first] = this.#columns
    const last = this.#columns.at(-1)
    const line = path('smooth')
    this.#faint.setAttribute('d', path('value'))
    this.#line.setAttribute('d', line)
    const foot = HEIGHT - MARGIN.bottom
    this.#area.setAttribute(
      'd',
      first === undefined ? '' : `${line}L${r(x(last.step))} ${foot}L${r(x(first.step))} ${foot}Z`,
    )
  }

  #point(event) {
    const box = this.#svg.getBoundingClientRect()
    const step =
      (((event.clientX - box.left) / box.width) * this.#width - MARGIN.left) /
      (this.#width - MARGIN.left - MARGIN.right)
    const target = step * this.#stepsTotal
    let nearest = null
    for (const [i, column] of this.#columns.entries()) {
      if (nearest === null || Math.abs(column.step - target) < Math.abs(this.#columns[nearest].step - target))
        nearest = i
    }
    this.#look(nearest)
  }

  #key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key]
    if (move === undefined || this.#columns.length === 0) return
    event.preventDefault()
    const last = this.#columns.length - 1
    this.#look(Math.min(last, Math.max(0, (this.#focus ?? last) + move)))
  }

  /** Shows the column of this index; null shows the newest, without a cursor. */
  #look(index) {
    this.#focus = index
    const { title, format } = this.#options
    const column = this.#columns[index ?? this.#columns.length - 1]
    if (column === undefined) {
      this.#cursor.replaceChildren()
      this.#readout.textContent = '–'
      this.#svg.setAttribute('aria-label', `${title}: nothing yet`)
      return
    }
    const { x, y } = this.#scale
    const at = { cx: r(x(column.step)), cy: r(y(column.smooth)) }
    const rule = svg('line', { x1: at.cx, x2: at.cx, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom })
    this.#cursor.replaceChildren(...(index === null ? [] : [rule]), svg('circle', { ...at, r: 4 }))
    const step = `step ${Math.round(column.step).toLocaleString('en')}`
    this.#readout.textContent = index === null ? format(column.smooth) : `${format(column.smooth)} at ${step}`
    this.#svg.setAttribute('aria-label', `${title}: ${format(column.smooth)} at ${step} of ${this.#stepsTotal}`)
  }
}

function r(value) {
  return Math.round(value * 10) / 10
}

function svg(name, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  return element
}

function text(content, attributes) {
  const element = svg('text', attributes)
  element.textContent = content
  return element
}
