// The slider, and live bytes below it: one place for each step.

const slider = document.getElementById("slider");
const memoryCanvas = document.getElementById("memory"),
  memoryPen = memoryCanvas.getContext("2d");
const liveText = document.getElementById("live-bytes");
const INSET = 8; // half a slider's thumb
const peakBytes = liveBytes.reduce((a, b) => Math.max(a, b), 0);
const peakStep = liveBytes.indexOf(peakBytes);
let memoryDrawn = ""; // what the picture below the cursor was drawn for
const picture = document.createElement("canvas");

slider.max = String(lastStep);

const placeOfStep = (step, width) => INSET + ((width - 2 * INSET) * step) / Math.max(1, lastStep);

function drawTimeline() {
  if (slider.value !== String(state.step)) slider.value = String(state.step);
  slider.setAttribute("aria-valuetext", state.words);
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = memoryCanvas;
  const drawn = `${width} ${height} ${ratio} ${colours.back}`;
  if (drawn !== memoryDrawn) {
    memoryDrawn = drawn;
    for (const canvas of [picture, memoryCanvas]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    drawBytes(picture.getContext("2d"), width, height, ratio);
  }
  memoryPen.setTransform(1, 0, 0, 1, 0, 0);
  memoryPen.clearRect(0, 0, memoryCanvas.width, memoryCanvas.height);
  memoryPen.drawImage(picture, 0, 0);
  memoryPen.setTransform(ratio, 0, 0, ratio, 0, 0);
  memoryPen.fillStyle = colours.ink;
  memoryPen.fillRect(placeOfStep(state.step, width) - 0.75, 0, 1.5, height);
  liveText.textContent = explanation.memory.length
    ? `${bytesText(liveBytes[state.step])} live, peak ${bytesText(peakBytes)} (step ${peakStep})`
    : "";
}

function drawBytes(pen, width, height, ratio) {
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const room = height - 4;
  const high = (step) => height - 1 - (peakBytes ? (room * liveBytes[step]) / peakBytes : 0);
  const half = seedStep < Infinity ? seedStep : steps.length;
  for (const [from, to, colour] of [
    [0, half, colours.value],
    [half, steps.length, colours.adjoint],
  ]) {
    if (from >= to) continue;
    pen.beginPath();
    pen.moveTo(placeOfStep(from - 0.5, width), height);
    for (let step = from; step < to; step++) {
      pen.lineTo(placeOfStep(step - 0.5, width), high(step));
      pen.lineTo(placeOfStep(step + 0.5, width), high(step));
    }
    pen.lineTo(placeOfStep(to - 0.5, width), height);
    pen.globalAlpha = 0.45;
    pen.fillStyle = colour;
    pen.fill();
    pen.globalAlpha = 1;
  }
  pen.fillStyle = colours.rule;
  pen.fillRect(0, height - 1, width, 1);
}

slider.addEventListener("input", () => goTo(Number(slider.value)));

{
  const move = (event) => {
    const box = memoryCanvas.getBoundingClientRect();
    goTo(Math.round(((event.clientX - box.left - INSET) / (box.width - 2 * INSET)) * lastStep));
  };
  memoryCanvas.addEventListener("pointerdown", (event) => {
    memoryCanvas.setPointerCapture(event.pointerId);
    move(event);
  });
  memoryCanvas.addEventListener("pointermove", (event) => {
    if (event.buttons) move(event);
  });
}
