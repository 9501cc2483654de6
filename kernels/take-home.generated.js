/**
 * Examples in, predictions out, prepared as in training. Made by TensorFleet for the model in this folder:
 *
 *     import { predict } from './predict.js'
 *     const model = await tf.loadLayersModel('.../model.json')
 *     const { outputs, classes } = await predict(tf, model, [{ column: value, ... }])
 */
// kernels/layer.ts
function problem(path, expected, found) {
	const shown = describe(found);
	return {
		path,
		expected,
		found: shown,
		message: `${path}: expected ${expected}, found ${shown}`
	};
}
function describe(value) {
	if (value === void 0) return "nothing";
	const text = typeof value === "string" ? value : JSON.stringify(value);
	if (text.length > 120 && Array.isArray(value)) return `a list of ${value.length} items`;
	return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
// kernels/safetensors.ts
function elementCount(shape) {
	let count = 1;
	for (const dimension of shape) count *= dimension;
	return count;
}
// kernels/data/column.ts
function elementsOf(column) {
	return elementCount(column.shape);
}
// kernels/data/examples.ts
const PROBLEMS_MAX = 100;
function readExamples(inputs, columns) {
	const width = columns.reduce((sum, column) => sum + elementsOf(column), 0);
	const filling = new Filling(columns, new Float32Array(inputs.length * width));
	for (const [i, input] of inputs.entries()) filling.fill(input, `inputs[${i}]`, i * width);
	return filling;
}
var Filling = class {
	problems = [];
	values;
	#columns;
	constructor(columns, values) {
		this.#columns = columns;
		this.values = values;
	}
	fill(input, path, offset) {
		const [only] = this.#columns;
		if (typeof input === "object" && input !== null && !Array.isArray(input)) this.#fillNamed(input, path, offset);
		else if (this.#columns.length === 1 && only !== void 0) this.#fillColumn(only, input, path, offset);
		else this.#fillListed(input, path, offset);
	}
	#fillNamed(input, path, offset) {
		let at = offset;
		for (const column of this.#columns) {
			const place = `${path}.${column.name}`;
			if (Object.hasOwn(input, column.name)) this.#fillColumn(column, input[column.name], place, at);
			else this.#complain(place, expectationOf(column), void 0);
			at += elementsOf(column);
		}
		for (const name of Object.keys(input)) {
			if (this.#columns.some((column) => column.name === name)) continue;
			const names = this.#columns.map((column) => column.name).join(", ");
			this.#complain(`${path}.${name}`, `one of the columns ${names}`, name);
		}
	}
	#fillListed(input, path, offset) {
		const names = this.#columns.map(({ name }) => name);
		if (!Array.isArray(input) || input.length !== names.length) {
			const named = names.length > 20 ? `${names.slice(0, 20).join(", ")}, …` : names.join(", ");
			return this.#complain(path, `an object, or a list of ${names.length} values: ${named}`, input);
		}
		let at = offset;
		for (const [i, column] of this.#columns.entries()) {
			this.#fillColumn(column, input[i], `${path}[${i}]`, at);
			at += elementsOf(column);
		}
	}
	#fillColumn(column, value, path, offset) {
		const size = elementsOf(column);
		const isOne = column.shape.length === 0 || size === 1;
		const isFlat = Array.isArray(value) && value.length === size && !Array.isArray(value[0]);
		if (column.shape.length === 0) this.values[offset] = this.#number(column, onlyOf(value), path);
		else if (isOne && !Array.isArray(value)) this.values[offset] = this.#number(column, value, path);
		else this.#fillNested(column, value, isFlat ? [size] : column.shape, path, offset);
	}
	#fillNested(column, value, shape, path, offset) {
		if (this.problems.length >= PROBLEMS_MAX) return offset;
		const [length, ...inner] = shape;
		if (length === void 0) {
			this.values[offset] = this.#number(column, value, path);
			return offset + 1;
		}
		if (!Array.isArray(value) || value.length !== length) {
			const of = inner.length === 0 ? `${length} numbers` : `${length} lists, as the shape [${column.shape.join(", ")}] says`;
			this.#complain(path, of, value);
			return offset;
		}
		let next = offset;
		for (let i = 0; i < length; i++) next = this.#fillNested(column, value[i], inner, `${path}[${i}]`, next);
		return next;
	}
	#number(column, value, path) {
		const { categories, nullable } = column;
		if (value === null && nullable === true) return categories === void 0 ? NaN : -1;
		if (categories === void 0) {
			if (typeof value === "number" && Number.isFinite(value)) return value;
		} else {
			const name = typeof value === "string" || typeof value === "number" ? String(value) : "";
			const code = typeof value === "number" && Number.isInteger(value) && value >= 0 && value < categories.count && categories.names?.includes(name) !== true ? value : void 0;
			const named = categories.names?.indexOf(name) ?? -1;
			if (named >= 0) return named;
			if (code !== void 0) return code;
		}
		this.#complain(path, expectationOf({
			...column,
			shape: []
		}), value);
		return 0;
	}
	#complain(path, expected, found) {
		if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem(path, expected, found));
	}
};
function onlyOf(value) {
	return Array.isArray(value) && value.length === 1 ? value[0] : value;
}
function expectationOf({ categories, shape }) {
	if (categories?.names !== void 0) return `one of ${categories.names.slice(0, 10).map((name) => JSON.stringify(name)).join(", ")}${categories.count > 10 ? ", …" : ""}`;
	if (categories !== void 0) return `a whole number from 0 to ${categories.count - 1}`;
	return shape.length === 0 ? "a number" : `numbers of shape [${shape.join(", ")}]`;
}
// kernels/random.ts
function deriveSeed(...parts) {
	let hash = 2166136261;
	for (const part of parts) {
		const text = `${typeof part === "number" ? "n" : "s"}${part}\u0000`;
		for (let i = 0; i < text.length; i++) {
			hash ^= text.charCodeAt(i);
			hash = Math.imul(hash, 16777619);
		}
	}
	return mix(hash);
}
function random(seed) {
	const next32 = splitmix32(seed);
	let s0 = next32();
	let s1 = next32();
	let s2 = next32();
	let s3 = next32();
	const nextUint32 = () => {
		const scrambled = Math.imul(s1, 5);
		const result = Math.imul(scrambled << 7 | scrambled >>> 25, 9) >>> 0;
		const t = s1 << 9;
		s2 ^= s0;
		s3 ^= s1;
		s1 ^= s2;
		s0 ^= s3;
		s2 ^= t;
		s3 = s3 << 11 | s3 >>> 21;
		return result;
	};
	return {
		nextUint32,
		nextUnit: () => nextUint32() / 4294967296,
		nextBelow(bound) {
			const limit = 4294967296 - 4294967296 % bound;
			let value = nextUint32();
			while (value >= limit) value = nextUint32();
			return value % bound;
		}
	};
}
function splitmix32(seed) {
	let state = seed | 0;
	return () => {
		state = state + 2654435769 | 0;
		return mix(state);
	};
}
function mix(hash) {
	let mixed = hash ^ hash >>> 16;
	mixed = Math.imul(mixed, 2246822507);
	mixed ^= mixed >>> 13;
	mixed = Math.imul(mixed, 3266489909);
	mixed ^= mixed >>> 16;
	return mixed >>> 0;
}
// kernels/data/pictures.ts
function resize(from, fromSize, to, toSize) {
	const [height = 1, width = 1, channels = 1] = fromSize;
	const [newHeight = 1, newWidth = 1] = toSize;
	for (let y = 0; y < newHeight; y++) {
		const sourceY = clamp((y + .5) * height / newHeight - .5, height - 1);
		const top = Math.floor(sourceY);
		const bottom = Math.min(top + 1, height - 1);
		const down = sourceY - top;
		for (let x = 0; x < newWidth; x++) {
			const sourceX = clamp((x + .5) * width / newWidth - .5, width - 1);
			const left = Math.floor(sourceX);
			const right = Math.min(left + 1, width - 1);
			const across = sourceX - left;
			for (let c = 0; c < channels; c++) {
				const at = (row, column) => from[(row * width + column) * channels + c] ?? 0;
				const upper = at(top, left) * (1 - across) + at(top, right) * across;
				const lower = at(bottom, left) * (1 - across) + at(bottom, right) * across;
				to[(y * newWidth + x) * channels + c] = upper * (1 - down) + lower * down;
			}
		}
	}
}
function augment(picture, size, options, seed, spare) {
	const { flip, shift = 0, rotate = 0, crop = 0, brightness = 0, noise = 0 } = options;
	const [height = 1, width = 1, channels = 1] = size;
	const generator = random(seed);
	const nextUnit = () => generator.nextUnit();
	const [flipX, flipY, dx, dy] = [
		generator.nextBelow(2),
		generator.nextBelow(2),
		nextUnit(),
		nextUnit()
	];
	const [turn, shrink, placeX, placeY, light] = [
		nextUnit(),
		nextUnit(),
		nextUnit(),
		nextUnit(),
		nextUnit()
	];
	const mirrorX = flipX === 1 && (flip === "horizontal" || flip === "both") ? -1 : 1;
	const mirrorY = flipY === 1 && (flip === "vertical" || flip === "both") ? -1 : 1;
	const moveX = Math.round((dx * 2 - 1) * shift);
	const moveY = Math.round((dy * 2 - 1) * shift);
	const angle = (turn * 2 - 1) * rotate * Math.PI / 180;
	const scale = 1 - shrink * crop;
	const [centreX, centreY] = [(width - 1) / 2, (height - 1) / 2];
	const cropX = (placeX - .5) * (1 - scale) * (width - 1);
	const cropY = (placeY - .5) * (1 - scale) * (height - 1);
	if (mirrorX < 0 || mirrorY < 0 || moveX !== 0 || moveY !== 0 || angle !== 0 || scale !== 1) {
		spare.set(picture);
		const [cos, sin] = [Math.cos(angle) * scale, Math.sin(angle) * scale];
		for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
			const [u, v] = [(x - centreX) * mirrorX - moveX, (y - centreY) * mirrorY - moveY];
			const fromX = centreX + cos * u - sin * v + cropX;
			sample(spare, height, width, channels, centreY + sin * u + cos * v + cropY, fromX, picture, (y * width + x) * channels);
		}
	}
	const gain = 1 + (light * 2 - 1) * brightness;
	if (gain !== 1) for (let i = 0; i < picture.length; i++) picture[i] = (picture[i] ?? 0) * gain;
	if (noise > 0) for (let i = 0; i < picture.length; i++) picture[i] = (picture[i] ?? 0) + noise * normal(nextUnit);
}
function sample(from, height, width, channels, y, x, to, at) {
	const [top, left] = [Math.floor(y), Math.floor(x)];
	const [down, across] = [y - top, x - left];
	for (let c = 0; c < channels; c++) {
		let sum = 0;
		for (const [row, column, weight] of [
			[
				top,
				left,
				(1 - down) * (1 - across)
			],
			[
				top,
				left + 1,
				(1 - down) * across
			],
			[
				top + 1,
				left,
				down * (1 - across)
			],
			[
				top + 1,
				left + 1,
				down * across
			]
		]) {
			if (weight === 0 || row < 0 || column < 0 || row >= height || column >= width) continue;
			sum += weight * (from[(row * width + column) * channels + c] ?? 0);
		}
		to[at + c] = sum;
	}
}
function normal(nextUnit) {
	return Math.sqrt(-2 * Math.log(1 - nextUnit())) * Math.cos(2 * Math.PI * nextUnit());
}
function clamp(value, max) {
	return Math.min(Math.max(value, 0), max);
}
// kernels/data/transform.ts
function transform({ steps }, columns, rows, draw) {
	const values = [...columns];
	for (const step of steps) {
		const before = values[step.column];
		if (before === void 0) continue;
		if (step.op !== "augment") values[step.column] = applied(step, before, rows);
		else if (draw !== void 0) augmentRows(step, before, rows, draw);
	}
	const [first] = values;
	if (values.length === 1 && first !== void 0) return first;
	const widths = values.map(({ length }) => length / rows);
	const width = widths.reduce((sum, each) => sum + each, 0);
	const joined = new Float32Array(rows * width);
	let offset = 0;
	for (const [i, column] of values.entries()) {
		const each = widths[i] ?? 0;
		for (let row = 0; row < rows; row++) for (let k = 0; k < each; k++) joined[row * width + offset + k] = column[row * each + k] ?? 0;
		offset += each;
	}
	return joined;
}
function transformRows(pipeline, values, rows) {
	const width = values.length / rows;
	let offset = 0;
	return transform(pipeline, pipeline.features.map((feature) => {
		const each = elementsOf(feature);
		const column = new Float32Array(rows * each);
		for (let row = 0; row < rows; row++) column.set(values.subarray(row * width + offset, row * width + offset + each), row * each);
		offset += each;
		return column;
	}), rows);
}
function turnedBack(outputs, target) {
	if (target.kind !== "value" || target.unscale === void 0) return outputs;
	const { factor, offset } = target.unscale;
	return outputs.map((value) => value * factor + offset);
}
function applied(step, values, rows) {
	switch (step.op) {
		case "affine": {
			const [factor = 1, offset = 0] = [step.factor[0], step.offset[0]];
			const groups = step.factor.length;
			if (groups === 1) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * factor + offset;
			else for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * (step.factor[i % groups] ?? 1) + (step.offset[i % groups] ?? 0);
			return values;
		}
		case "impute": {
			const groups = step.values.length;
			for (let i = 0; i < values.length; i++) {
				const value = values[i] ?? 0;
				if (step.isCategory ? value === -1 : Number.isNaN(value)) values[i] = step.values[i % groups] ?? 0;
			}
			return values;
		}
		case "onehot": {
			const spread = new Float32Array(rows * step.classes);
			for (let row = 0; row < rows; row++) {
				const code = values[row] ?? -1;
				if (code >= 0 && code < step.classes) spread[row * step.classes + code] = 1;
			}
			return spread;
		}
		case "resize": {
			const [before, after] = [elementCount(step.from), elementCount(step.to)];
			const resized = new Float32Array(rows * after);
			for (let row = 0; row < rows; row++) resize(values.subarray(row * before, (row + 1) * before), step.from, resized.subarray(row * after, (row + 1) * after), step.to);
			return resized;
		}
	}
}
function augmentRows(step, values, rows, { seed, epoch, ids }) {
	const size = elementCount(step.shape);
	const spare = new Float32Array(size);
	for (let row = 0; row < rows; row++) {
		const own = deriveSeed(seed, "augment", epoch, ids[row] ?? 0, step.column);
		augment(values.subarray(row * size, (row + 1) * size), step.shape, step, own, spare);
	}
}
// kernels/prediction-text.ts
function likeliest(outputs) {
	if (outputs.length === 1) return Number((outputs[0] ?? 0) > .5);
	let best = 0;
	for (let k = 1; k < outputs.length; k++) if ((outputs[k] ?? 0) > (outputs[best] ?? -Infinity)) best = k;
	return best;
}
function classesOf(target, values, rows) {
	if (target.kind !== "class") return void 0;
	const width = values.length / rows;
	return Array.from({ length: rows }, (_, row) => {
		const k = likeliest(values.subarray(row * width, (row + 1) * width));
		return target.names?.[k] ?? k;
	});
}
// kernels/take-home.ts
const BATCH_ROWS = 256;
async function predict(tf, model, examples) {
	const home = model.getUserDefinedMetadata()?.tensorfleet;
	if (home === void 0) throw new TypeError("This model.json says nothing of preprocessing: load that of this folder");
	const { values, problems } = readExamples(examples, home.features);
	if (problems.length > 0) throw new TypeError(problems.map(({ message }) => message).join("; "));
	const answers = { outputs: [] };
	const width = values.length / examples.length;
	for (let at = 0; at < examples.length; at += BATCH_ROWS) {
		const rows = Math.min(BATCH_ROWS, examples.length - at);
		const said = turnedBack(await run(tf, model, transformRows(home, values.subarray(at * width, (at + rows) * width), rows), [rows, ...home.input.shape]), home.output);
		const each = said.length / rows;
		for (let row = 0; row < rows; row++) answers.outputs.push([...said.subarray(row * each, (row + 1) * each)]);
		const classes = classesOf(home.output, said, rows);
		if (classes !== void 0) answers.classes = [...answers.classes ?? [], ...classes];
	}
	return answers;
}
async function run(tf, model, features, shape) {
	const inputs = tf.tensor(features, shape);
	const outputs = model.predict(inputs);
	const said = Float32Array.from(await outputs.data());
	inputs.dispose();
	outputs.dispose();
	return said;
}
export { predict };
