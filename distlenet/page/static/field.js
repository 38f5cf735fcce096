// The drawing field: strokes of mouse, finger and pen, and the canvas that shows them.
// Coordinates are in sides of the field, so that a drawing outlives a change of the window.

export class Field {
  // changed(finished) is called after every change of the drawing.
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.width = 0.07;
    this.strokes = []; // each [x, y, x, y, ...]; the list itself is never changed, so that the past can keep it
    this.picture = null; // {bitmap, boxes} of a picture that is shown instead of strokes
    this.chosen = 0; // the digit whose box stands out
    this.past = [];
    this.pens = new Map(); // pointer id -> its stroke
    for (const kind of ["down", "move", "up", "cancel"]) {
      canvas.addEventListener(`pointer${kind}`, (event) => this[kind](event));
    }
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  get drawing() {
    return this.pens.size > 0;
  }

  get justBegun() {
    return this.drawing && this.strokes.length === 1 && this.strokes[0].length <= 4;
  }

  get blank() {
    return this.strokes.length === 0 && !this.picture;
  }

  down(event) {
    if (event.button !== 0 || this.pens.has(event.pointerId)) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    const stroke = [];
    this.keep();
    this.picture = null;
    this.strokes = [...this.strokes, stroke];
    this.pens.set(event.pointerId, stroke);
    if (this.strokes.length === 1) this.redraw(); // a picture may have been there
    this.extend(stroke, event);
    this.changed(false);
  }

  move(event) {
    const stroke = this.pens.get(event.pointerId);
    if (!stroke) return;
    const all = event.getCoalescedEvents?.() ?? []; // a fast pen moves several times between two frames
    for (const part of all.length ? all : [event]) this.extend(stroke, part);
    this.changed(false);
  }

  up(event) {
    const stroke = this.pens.get(event.pointerId);
    if (!stroke) return;
    this.extend(stroke, event);
    this.pens.delete(event.pointerId);
    this.changed(!this.drawing);
  }

  cancel(event) { // the system took the pointer away, a palm for example: what it drew was not meant
    const stroke = this.pens.get(event.pointerId);
    if (!stroke) return;
    this.pens.delete(event.pointerId);
    this.strokes = this.strokes.filter((other) => other !== stroke);
    this.redraw();
    this.changed(!this.drawing);
  }

  extend(stroke, event) {
    const place = this.canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height].map(
      (value) => Math.round(1e4 * Math.min(2.9, Math.max(-1.9, value))) / 1e4,
    );
    if (stroke.length && stroke.at(-2) === x && stroke.at(-1) === y) return;
    stroke.push(x, y);
    this.ink(this.context(), stroke, Math.max(0, stroke.length - 4));
  }

  keep() {
    this.past.push({ strokes: this.strokes, picture: this.picture });
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.replace(before.strokes, before.picture);
  }

  clear() {
    if (this.blank) return;
    this.keep();
    this.replace([], null);
  }

  show(picture) {
    this.keep();
    this.chosen = 0;
    this.replace([], picture);
  }

  replace(strokes, picture) {
    this.pens.clear();
    this.strokes = strokes;
    this.picture = picture;
    this.redraw();
  }

  setWidth(width) {
    this.width = width;
    this.redraw();
  }

  context() {
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    context.strokeStyle = style.color;
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = this.width * this.canvas.width;
    return context;
  }

  ink(context, stroke, from) {
    const side = this.canvas.width;
    context.beginPath();
    context.moveTo(stroke[from] * side, stroke[from + 1] * side);
    for (let i = from; i < stroke.length; i += 2) context.lineTo(stroke[i] * side + 0.01, stroke[i + 1] * side); // a dot, too
    context.stroke();
  }

  redraw() {
    const side = Math.max(1, Math.round(this.canvas.clientWidth * devicePixelRatio));
    this.canvas.width = this.canvas.height = side; // this clears it, too
    const context = this.context();
    if (this.picture) this.place(context, side);
    for (const stroke of this.strokes) if (stroke.length) this.ink(context, stroke, 0);
  }

  name(context, side, text) {
    context.font = `${16 * devicePixelRatio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.fillStyle = context.strokeStyle;
    context.fillText(text, side / 2, side / 2, 0.9 * side);
  }

  place(context, side) {
    const { bitmap, boxes, file } = this.picture;
    if (!bitmap) return this.name(context, side, file.name); // of a format that only the server reads
    const scale = side / Math.max(bitmap.width, bitmap.height);
    const [left, top] = [bitmap.width, bitmap.height].map((length) => (side - length * scale) / 2);
    context.drawImage(bitmap, left, top, bitmap.width * scale, bitmap.height * scale);
    const style = getComputedStyle(this.canvas);
    for (const [number, box] of (boxes ?? []).entries()) {
      const [x0, y0, x1, y1] = box.map((edge) => edge * scale);
      const chosen = boxes.length === 1 || number === this.chosen;
      context.strokeStyle = style.getPropertyValue(chosen ? "--accent" : "--control");
      context.lineWidth = (chosen ? 3 : 1.5) * devicePixelRatio;
      context.strokeRect(left + x0, top + y0, x1 - x0, y1 - y0);
    }
  }
}
