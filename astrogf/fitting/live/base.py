"""A figure of the report as they all are, and what of it goes into a page."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from jaxtyping import Float

from astrogf.base.errors import printable
from astrogf.style import QUIET

TOOLS = "pan,wheel_zoom,box_zoom,box_select,tap,reset,save"
FONT = "Charter, 'Bitstream Charter', 'Sitka Text', Cambria, Georgia, serif"


def plot(x: str, y: str, *, height: int = 340, tools: str = TOOLS, **more: Any) -> Any:
    """An empty figure as wide as the page, with the names of its axes. Dragging moves it; the wheel scrolls the page
    until it is chosen for zooming."""
    drag = next(tool for tool in tools.split(",") if tool.endswith("pan"))
    made = figure(
        height=height, sizing_mode="stretch_width", tools=tools, toolbar_location="above", active_drag=drag,
        active_scroll=None, x_axis_label=x, y_axis_label=y, output_backend="canvas", min_border_right=16, **more,
    )  # fmt: skip
    made.toolbar.logo = None
    made.outline_line_color = None
    made.grid.grid_line_alpha = 0.4
    for axis in made.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "14px", "13px"
        axis.axis_line_color = axis.major_tick_line_color = "#555555"
        axis.minor_tick_line_color = None
    return made


def hover(made: Any, what: list[tuple[str, str]], glyphs: list[Any], **more: Any) -> None:
    """Say these things of a glyph under the pointer."""
    made.add_tools(HoverTool(tooltips=what, renderers=glyphs, **more))


def source(**columns: Any) -> ColumnDataSource:
    """Columns for glyphs; numbers in single precision but for wavelengths, text printable."""
    return ColumnDataSource({name: _column(name, values) for name, values in columns.items()})


def _column(name: str, values: Any) -> Any:
    values = np.asarray(values)
    if values.dtype.kind in "UO":
        return [printable(text) for text in values]
    if values.dtype.kind != "f":
        return values
    return values.astype(np.float64 if name.startswith("wavelength") else np.float32)


def bars(made: Any, data: ColumnDataSource, x: str, low: str, high: str, colour: str = "#c4c4c4") -> Any:
    """Vertical error bars between two columns."""
    return made.segment(x, low, x, high, source=data, line_color=colour, line_width=1)


def legend(made: Any, columns: int = 2) -> None:
    """The legend above the figure, in columns that a narrow screen has room for; a click hides what it names."""
    if not made.legend:
        return
    box = made.legend[0]
    made.add_layout(box, "above")
    box.orientation, box.border_line_color, box.label_text_font, box.padding = "horizontal", None, FONT, 2
    box.ncols, box.click_policy, box.spacing, box.margin = columns, "hide", 1, 4
    box.label_text_font_size = "13px"


def dashed(made: Any, x: Float[np.ndarray, " 2"], y: Float[np.ndarray, " 2"], colour: str = QUIET) -> None:
    """A dashed line."""
    made.line(x, y, line_color=colour, line_dash=[6, 4], line_width=1)
